"""Triton's attention against the equation; on a GPU, or in Triton's interpreter on a CPU.

The interpreter is chosen when triton is imported and then holds for the whole process, so these
tests run in one of their own: `test_triton_interpreter.py`, or TRITON_INTERPRET=1 pytest THIS.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from tupe_plugin.core.attention_backends import BACKENDS, NoiseTerms
from tupe_plugin.core.encoder import TupeEncoder
from tupe_plugin.core.position_scheme import POSITION_SCHEMES
from tupe_plugin.core.triton_attention import triton_attention

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
pytestmark = [] if INTERPRETED else [pytest.mark.gpu]

PAD = 1
F16, BF16, F32 = torch.float16, torch.bfloat16, torch.float32
Names = tuple[str, ...]


class Case(NamedTuple):
    """One call: sizes, and what it is given beside queries, keys and values."""

    dtype: torch.dtype
    batch: int
    heads: int
    seq: int
    head_dim: int
    given: Names = ("bias", "padding")
    dropout_p: float = 0.0

    @property
    def scale(self) -> float:
        return (2 * self.head_dim) ** -0.5


# A tile is 16 to 128 long: 64 fills one or several, 67 begins another.
SMALL = [
    Case(F32, 3, 1, 1, 32),
    Case(F32, 2, 2, 2, 32, ("bias",)),
    Case(F32, 2, 3, 7, 64, ("padding",)),
    Case(F32, 2, 1, 67, 32),
    Case(F32, 1, 1, 31, 128, ()),
    Case(F16, 2, 1, 67, 64),
    Case(BF16, 2, 1, 64, 32),
    Case(BF16, 1, 2, 31, 128),
]
REAL = [
    Case(dtype, 7, 12, seq, head_dim)
    for dtype in (F16, BF16, F32)
    for seq, head_dim in ((1, 64), (128, 64), (509, 64), (512, 64), (131, 32), (257, 128))
]
SIZES = SMALL if INTERPRETED else REAL


class Inputs(NamedTuple):
    query: Tensor
    key: Tensor
    value: Tensor
    bias: Tensor | None
    padding: Tensor | None
    out_gradient: Tensor

    def to(self, dtype: torch.dtype) -> Inputs:
        """Apart from the originals, with gradients."""
        moved = [x.detach().to(dtype) if x is not None else None for x in self._without_padding()]
        query, key, value, bias, out_gradient = moved
        for x in (query, key, value, bias):
            if x is not None:
                x.requires_grad_()
        return Inputs(query, key, value, bias, self.padding, out_gradient)

    def _without_padding(self) -> tuple[Tensor | None, ...]:
        return self.query, self.key, self.value, self.bias, self.out_gradient


def inputs(case: Case) -> Inputs:
    """Queries, keys and values are views of a packed projection, as the module has them."""
    generator = torch.Generator().manual_seed(3)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(DEVICE, case.dtype)

    packed = random(case.batch, case.seq, 3, case.heads, case.head_dim).permute(2, 0, 3, 1, 4)
    # Not contiguous, as that of a relative position scheme.
    bias = random(case.seq, case.seq, case.heads).permute(2, 0, 1) if "bias" in case.given else None
    padding = None
    if "padding" in case.given:
        padding = torch.zeros(case.batch, case.seq, dtype=torch.bool, device=DEVICE)
        padding[-1, 1 + case.seq // 2 :] = True
    out_gradient = random(case.batch, case.seq, case.heads, case.head_dim).transpose(1, 2)
    return Inputs(*packed, bias, padding, out_gradient)


def equation(x: Inputs, *, scale: float, multiplier: Tensor | None = None) -> Tensor:
    """Plain torch; ``multiplier`` is Z, dropout's.  A query without a key gets zeros."""
    logits = (x.query * scale) @ x.key.transpose(2, 3)
    if x.bias is not None:
        logits = logits + x.bias
    if x.padding is None:
        weights = torch.softmax(logits, -1)
    else:
        unseen = x.padding[:, None, None, :]
        weights = torch.softmax(logits.masked_fill(unseen, torch.finfo(logits.dtype).min), -1)
        weights = weights.masked_fill(unseen, 0)
    if multiplier is not None:
        weights = weights * multiplier.to(weights.dtype)
    return weights @ x.value


def ours(x: Inputs, case: Case, seed: Tensor | None = None) -> Tensor:
    return triton_attention(
        x.query,
        x.key,
        x.value,
        bias=x.bias,
        key_padding=x.padding,
        dropout_p=case.dropout_p,
        scale=case.scale,
        seed=seed,
    )


def with_gradients(x: Inputs, out: Tensor) -> list[Tensor]:
    """The output, and what arrives at queries, keys, values and bias."""
    leaves = [leaf for leaf in (x.query, x.key, x.value, x.bias) if leaf is not None]
    return [out.detach(), *torch.autograd.grad(out, leaves, x.out_gradient)]


def errors(values: list[Tensor], truth: list[Tensor]) -> tuple[float, float]:
    """Of the output and of all gradients, relative to the largest true number of each."""
    apart = [(a.double() - b).abs().max().item() for a, b in zip(values, truth, strict=True)]
    large = [b.abs().max().item() for b in truth]
    return apart[0] / large[0], max(apart[1:]) / max(large[1:])


def assert_errs_at_most_twice_as_much_as_plain_torch(
    values: list[Tensor], plain: list[Tensor], truth: list[Tensor], case: Case
) -> None:
    """Or, where plain torch is exact, than the rounding of D.

    D sums over the features where plain torch sums over the keys, and n terms round by sqrt(n).
    The interpreter cuts a bfloat16 off instead of rounding it, which errs twice as much again.
    """
    factor = 4 if INTERPRETED and case.dtype == BF16 else 2
    rounding = torch.finfo(case.dtype).eps * max(1, case.head_dim / case.seq) ** 0.5
    for our_error, plain_error in zip(errors(values, truth), errors(plain, truth), strict=True):
        assert our_error <= factor * max(plain_error, rounding)


def seed_of(number: int) -> Tensor:
    return torch.tensor([number], dtype=torch.int64, device=DEVICE)


@pytest.mark.parametrize("case", SIZES, ids=str)
def test_equals_the_equation(case: Case) -> None:
    given = inputs(case)
    x, same, exact = given.to(case.dtype), given.to(case.dtype), given.to(torch.float64)
    assert_errs_at_most_twice_as_much_as_plain_torch(
        with_gradients(x, ours(x, case)),
        with_gradients(same, equation(same, scale=case.scale)),
        with_gradients(exact, equation(exact, scale=case.scale)),
        case,
    )


def test_a_sentence_of_padding_gives_zeros_and_moves_nothing() -> None:
    case = Case(F32, 2, 1, 5, 32)
    x = inputs(case).to(F32)
    assert x.padding is not None
    x.padding[1] = True
    out, to_query, to_key, to_value, to_bias = with_gradients(x, ours(x, case))
    for tensor in (out, to_query, to_key, to_value):
        assert tensor[1].eq(0).all()
    alone = inputs(case).to(F32)
    alone = Inputs(*(t[:1] if t.dim() == 4 else t for t in alone[:4]), None, alone.out_gradient[:1])
    torch.testing.assert_close(to_bias, with_gradients(alone, ours(alone, case))[-1])


@pytest.mark.parametrize("dtype", [F16, F32])
def test_tiles_after_a_sentence_are_not_looked_at(dtype: torch.dtype) -> None:
    """NaN stands there, which any product would spread; the bits are those of zeros looked at.

    A padded place between two words is masked like any other.
    """
    case = Case(dtype, 3, 1, 67, 32, dropout_p=0.25)
    given, seed = inputs(case), seed_of(8)
    places = torch.arange(case.seq, device=DEVICE)
    ended = places >= torch.tensor([30, 0, 67], device=DEVICE)[:, None]
    padding = ended.clone()
    padding[0, 5] = True
    after = (padding & (places >= 64))[:, None, :, None]  # where a tile of keys begins

    def outcome(skip_padded_queries: bool, filler: float) -> list[Tensor]:
        x = given.to(dtype)
        query, key, value = (t.masked_fill(after, filler) for t in (x.query, x.key, x.value))
        out_gradient = x.out_gradient.masked_fill(padding[:, None, :, None], 0)
        out = triton_attention(
            query,
            key,
            value,
            bias=x.bias,
            key_padding=padding,
            skip_padded_queries=skip_padded_queries,
            dropout_p=case.dropout_p,
            scale=case.scale,
            seed=seed,
        )
        leaves = query, key, value, x.bias
        gradients = torch.autograd.grad(out, leaves, out_gradient.masked_fill(after, filler))
        if skip_padded_queries:
            assert out[ended[:, None].expand(out.shape[:3])].eq(0).all()
        return [out.detach().masked_fill(padding[:, None, :, None], 0), *gradients]

    values, expected = outcome(True, torch.nan), outcome(False, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(values, expected, strict=True))


def test_queries_and_keys_may_differ_in_number() -> None:
    case = Case(F32, 1, 1, 5, 32, ())
    x = inputs(case).to(F32)
    x = x._replace(key=x.key[:, :, :3], value=x.value[:, :, :3])
    torch.testing.assert_close(ours(x, case), equation(x, scale=case.scale))


def test_a_bias_that_needs_no_gradient_gets_none_and_changes_no_other() -> None:
    case = Case(F32, 2, 1, 5, 32)
    x = inputs(case).to(F32)
    expected = with_gradients(x, ours(x, case))[:-1]
    assert x.bias is not None
    fixed = x._replace(bias=x.bias.detach())
    out = ours(fixed, case)
    values = [out, *torch.autograd.grad(out, (x.query, x.key, x.value), x.out_gradient)]
    assert all(torch.equal(a, b) for a, b in zip(values, expected, strict=True))


def test_a_gradient_may_be_one_number_expanded() -> None:
    """As that of a sum is."""
    case = Case(F32, 1, 1, 5, 32)
    x = inputs(case).to(F32)
    x = x._replace(out_gradient=torch.ones((), device=DEVICE).expand(x.query.shape))
    values, expected = (
        with_gradients(x, ours(x, case)),
        with_gradients(x, equation(x, scale=case.scale)),
    )
    torch.testing.assert_close(values, expected)


# ---- dropout


def multiplier(x: Inputs, case: Case, seed: Tensor) -> Tensor:
    """Z: the values are an identity matrix, so what comes out is P * Z."""
    identity = torch.eye(case.seq, case.head_dim, device=DEVICE, dtype=case.dtype)
    identity = identity.expand(case.batch, case.heads, -1, -1)
    given = Inputs(x.query, x.key, identity, x.bias, x.padding, x.out_gradient)
    dropped = ours(given, case, seed)[..., : case.seq]
    share = 1 - round(case.dropout_p * 65_536) / 65_536
    return dropped.detach().ne(0) / share


@pytest.mark.parametrize("dtype", [F16, F32])
def test_every_kernel_has_the_dropout_of_the_forward_pass(dtype: torch.dtype) -> None:
    """In float16 the tiles of the two directions differ in size as well."""
    batch, heads = (2, 1) if INTERPRETED else (7, 12)
    case = Case(dtype, batch, heads, 67, 128, dropout_p=0.3)
    if INTERPRETED and dtype == F32:
        case = case._replace(seq=35, head_dim=64)
    given, seed = inputs(case), seed_of(2**62 + 11)
    z = multiplier(given, case, seed)
    x, same, exact = given.to(dtype), given.to(dtype), given.to(torch.float64)
    assert_errs_at_most_twice_as_much_as_plain_torch(
        with_gradients(x, ours(x, case, seed)),
        with_gradients(same, equation(same, scale=case.scale, multiplier=z)),
        with_gradients(exact, equation(exact, scale=case.scale, multiplier=z)),
        case,
    )


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_the_share_that_is_kept(p: float) -> None:
    """Within six standard deviations, in each sentence, and from one weight to its neighbours."""
    case = Case(F32, 2, 2, 64, 64, (), p)
    x = inputs(case)
    kept = multiplier(x, case, seed_of(5)).ne(0).double() - (1 - p)
    variance = p * (1 - p)

    def mean_is_zero(product: Tensor, deviation: float) -> bool:
        return product.mean().abs().item() < 6 * deviation / product.numel() ** 0.5

    assert all(mean_is_zero(one, variance**0.5) for one in kept.flatten(0, 1))
    for axis in range(4):
        length = kept.size(axis)
        pairs = kept.narrow(axis, 1, length - 1) * kept.narrow(axis, 0, length - 1)
        assert mean_is_zero(pairs, variance), f"neighbours along axis {axis}"
    other = multiplier(x, case, seed_of(6)).ne(0).double() - (1 - p)
    assert mean_is_zero(kept * other, variance), "two seeds"


def test_the_mean_over_many_seeds_is_attention_without_dropout() -> None:
    case = Case(F32, 1, 1, 3, 32, (), 0.25)
    x = inputs(case)
    draws = torch.stack([ours(x, case, seed_of(n)) for n in range(50)]).double()
    deviation = draws.std(0) / len(draws) ** 0.5
    expected = equation(x.to(torch.float64), scale=case.scale)
    assert ((draws.mean(0) - expected).abs() < 6 * deviation + 1e-6).all()


def test_torchs_generator_draws_the_seed() -> None:
    case = Case(F32, 1, 1, 7, 32, (), 0.5)
    x = inputs(case)
    torch.manual_seed(4)
    first, second = ours(x, case), ours(x, case)
    torch.manual_seed(4)
    assert torch.equal(ours(x, case), first)
    assert not torch.equal(first, second)


def test_two_runs_give_the_same_bits() -> None:
    case = Case(F16, 2, 1, 67, 32, dropout_p=0.1) if INTERPRETED else Case(BF16, 31, 12, 512, 64)
    x, seed = inputs(case).to(case.dtype), seed_of(9)
    first, second = (with_gradients(x, ours(x, case, seed)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


# ---- graphs


def test_compiles_and_exports_as_one_graph_for_every_size() -> None:
    case = Case(F32, 2, 1, 5, 32, dropout_p=0.5)
    backend = "aot_eager" if INTERPRETED else "inductor"
    compiled = torch.compile(ours, fullgraph=True, dynamic=True, backend=backend)
    for size in (case, case._replace(batch=3, seq=7)):
        x, seed = inputs(size).to(F32), seed_of(1)
        values = with_gradients(x, compiled(x, size, seed))
        expected = with_gradients(x, ours(x, size, seed))
        assert all(torch.equal(a, b) for a, b in zip(values, expected, strict=True))

    class Module(torch.nn.Module):
        def forward(self, query: Tensor) -> Tensor:
            return triton_attention(query, query, query, scale=case.scale)

    sizes = {"query": {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC}}
    short, long = (inputs(case._replace(seq=seq)).query for seq in (5, 7))
    exported = torch.export.export(Module(), (short,), dynamic_shapes=sizes).module()
    assert torch.equal(exported(long), Module()(long))


# ---- as a backend


def test_an_encoder_trains_with_it() -> None:
    """Features and gradients are those of the equation, in a padded batch with noise."""
    tokens = torch.randint(4, 17, (3, 7), generator=torch.Generator().manual_seed(2)).to(DEVICE)
    tokens[1, 4:] = PAD
    noise = torch.randn(3, 2, 7, 7, generator=torch.Generator().manual_seed(3)).to(DEVICE) / 8
    direction = torch.randn(12, 64, generator=torch.Generator().manual_seed(4)).to(DEVICE)
    outcomes = []
    for name in ("explicit", "triton"):
        torch.manual_seed(1)
        encoder = TupeEncoder(
            17,
            PAD,
            num_layers=2,
            embed_dim=64,
            ffn_embed_dim=11,
            num_heads=2,
            max_positions=7,
            scheme=POSITION_SCHEMES["tupe-r"],
            dropout=0.0,
            attention_dropout=0.0,
            attention=BACKENDS[name],
        ).to(DEVICE)
        encoder.layers[0].self_attn.noise = NoiseTerms(weights=noise)
        (features,) = encoder(tokens)
        words = features[tokens.ne(PAD)][:12]
        (words * direction).sum().backward()
        outcomes.append([words, *(p.grad for p in encoder.parameters())])
    # One scale serves all gradients: that of a key's bias is zero but for rounding.
    largest = max(gradient.abs().max().item() for gradient in outcomes[0][1:])
    for explicit, triton in zip(*outcomes, strict=True):
        torch.testing.assert_close(triton, explicit, rtol=0, atol=1e-5 * largest)


def test_a_generator_decides_what_is_dropped() -> None:
    case = Case(F32, 2, 1, 7, 32)
    x = inputs(case)

    def dropped(seed: int) -> Tensor:
        generator = torch.Generator(DEVICE).manual_seed(seed)
        options = {"dropout_p": 0.5, "scale": case.scale, "generator": generator}
        return BACKENDS["triton"](x.query, x.key, x.value, **options)

    assert torch.equal(dropped(3), dropped(3))
    assert not torch.equal(dropped(3), dropped(4))


def test_noise_on_the_logits_is_refused() -> None:
    x = inputs(Case(F32, 1, 1, 2, 32))
    noise = NoiseTerms(logits=torch.zeros(1, 1, 2, 2, device=DEVICE))
    with pytest.raises(ValueError, match="no noise on the attention logits: choose sdpa"):
        BACKENDS["triton"](x.query, x.key, x.value, scale=1.0, noise=noise)


# ---- what is refused


def test_a_second_derivative_is_refused_in_one_line() -> None:
    case = Case(F32, 1, 1, 2, 32)
    x = inputs(case).to(F32)
    (first,) = torch.autograd.grad(ours(x, case).sum(), x.query, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative: choose explicit"):
        first.sum().backward()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bias": torch.zeros(2, 5, 5)}, r"bias is \(2, 5, 5\), but \(1, 5, 5\)"),
        ({"bias": torch.zeros(1, 5, 5, dtype=torch.bool)}, "use a floating type"),
        ({"key_padding": torch.zeros(2, 5)}, "key_padding is torch.float32"),
        ({"value": torch.zeros(2, 1, 5, 32, dtype=F16)}, "value is torch.float16"),
        ({"seed": torch.zeros(2, dtype=torch.int64)}, r"seed is \(2,\)"),
        ({"dropout_p": 1.0}, r"dropout_p=1.0 is not in \[0, 1\)"),
    ],
)
def test_refuses_what_does_not_fit(changed: dict[str, object], message: str) -> None:
    x = inputs(Case(F32, 2, 1, 5, 32))
    moved = {name: v.to(DEVICE) if isinstance(v, Tensor) else v for name, v in changed.items()}
    arguments = {"query": x.query, "key": x.key, "value": x.value, "scale": 1.0, **moved}
    with pytest.raises(ValueError, match=message):
        triton_attention(**arguments)


@pytest.mark.parametrize(
    ("dtype", "head_dim", "message"), [(F32, 48, "not 48: choose sdpa"), (torch.float64, 32, "64")]
)
def test_refuses_what_the_kernels_do_not_take(
    dtype: torch.dtype, head_dim: int, message: str
) -> None:
    x = torch.zeros(1, 1, 2, head_dim, dtype=dtype, device=DEVICE)
    with pytest.raises(ValueError, match=message):
        triton_attention(x, x, x, scale=1.0)
