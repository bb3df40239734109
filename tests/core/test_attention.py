from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from tests.core.random_parameters import randomized
from tests.references import attention as reference
from tupe_plugin.core.attention import (
    MultiheadSelfAttention,
    PositionTerms,
    attention_mask,
    explicit_attention,
)

BATCH, HEADS, SEQ, HEAD_DIM = 2, 3, 7, 5
EMBED = HEADS * HEAD_DIM
SCALE = (2 * HEAD_DIM) ** -0.5
TIGHT = {"rtol": 1e-10, "atol": 1e-10}
sdpa = F.scaled_dot_product_attention

both_modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
both_paths = pytest.mark.parametrize("attention", [sdpa, explicit_attention])
masks = pytest.mark.parametrize("masking", ["nothing", "bias", "padding", "bias and padding"])


def random(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype)


def parts(masking: str, seq: int = SEQ) -> tuple[Tensor | None, Tensor | None]:
    """Bias ``(heads, query, key)`` and padding ``(batch, key)``: the second sentence is shorter."""
    bias = random(HEADS, seq, seq, seed=2) if "bias" in masking else None
    padding = None
    if "padding" in masking:
        padding = torch.zeros(BATCH, seq, dtype=torch.bool)
        padding[1, 1 + seq // 2 :] = True
    return bias, padding


def float_padding(padding: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """The padding as torch's own attention wants it beside a float bias."""
    if padding is None:
        return None
    return torch.zeros(padding.shape, dtype=dtype).masked_fill(padding, -torch.inf)


def module(
    *, attention=sdpa, dropout: float = 0.0, heads: int = HEADS, head_dim: int = HEAD_DIM
) -> MultiheadSelfAttention:
    return randomized(
        MultiheadSelfAttention(
            heads * head_dim,
            heads,
            scale=(2 * head_dim) ** -0.5,
            dropout=dropout,
            attention=attention,
        )
    )


# ---- the mask


def test_no_bias_and_no_padding_make_no_mask() -> None:
    assert attention_mask(None, None, dtype=torch.float32) is None


def test_without_padding_the_bias_is_broadcast_not_copied() -> None:
    bias = random(HEADS, SEQ, SEQ)
    mask = attention_mask(bias, None, dtype=bias.dtype)
    assert mask is not None
    assert mask.shape == (1, HEADS, SEQ, SEQ)
    assert mask.data_ptr() == bias.data_ptr()


def test_padding_is_minus_infinity_and_the_rest_the_bias() -> None:
    bias, padding = parts("bias and padding")
    mask = attention_mask(bias, padding, dtype=torch.float64)
    assert mask is not None
    assert mask.shape == (BATCH, HEADS, SEQ, SEQ)
    for b in range(BATCH):
        for k in range(SEQ):
            expected = torch.full((), -torch.inf) if padding[b, k] else bias[:, :, k]
            assert (mask[b, :, :, k] == expected).all()


def test_padding_alone_needs_neither_heads_nor_queries() -> None:
    _, padding = parts("padding")
    mask = attention_mask(None, padding, dtype=torch.bfloat16)
    assert mask is not None
    assert mask.shape == (BATCH, 1, 1, SEQ)
    assert mask.dtype == torch.bfloat16
    assert torch.equal(mask.eq(-torch.inf).flatten(1), padding)


def test_the_mask_has_the_type_asked_for_and_passes_the_gradient_on() -> None:
    bias, padding = parts("bias and padding")
    bias.requires_grad_()
    mask = attention_mask(bias, padding, dtype=torch.float32)
    assert mask is not None
    assert mask.dtype == torch.float32
    mask.masked_fill(padding[:, None, None], 0).sum().backward()
    counts = (~padding).sum(0).double()  # sentences in which a key is a word
    assert torch.equal(bias.grad, counts.expand(HEADS, SEQ, SEQ))


# ---- the equation


@both_paths
@masks
@pytest.mark.parametrize("seq", [1, 2, SEQ])
def test_both_paths_equal_the_naive_reference(attention, masking: str, seq: int) -> None:
    query, key, value = random(3, BATCH, HEADS, seq, HEAD_DIM)
    bias, padding = parts(masking, seq)
    mask = attention_mask(bias, padding, dtype=query.dtype)
    result = attention(query, key, value, attn_mask=mask, scale=SCALE)
    expected = reference.attend(query, key, value, scale=SCALE, bias=bias, padding=padding)
    torch.testing.assert_close(result, expected, **TIGHT)


@masks
def test_equal_logits_average_the_values(masking: str) -> None:
    query = torch.zeros(BATCH, HEADS, SEQ, HEAD_DIM, dtype=torch.float64)
    key, value = random(2, BATCH, HEADS, SEQ, HEAD_DIM)
    bias, padding = parts(masking)
    if bias is not None:
        bias = torch.full_like(bias, 0.7)
    mask = attention_mask(bias, padding, dtype=query.dtype)
    for b in range(BATCH):
        words = ~padding[b] if padding is not None else torch.ones(SEQ, dtype=torch.bool)
        mean = value[b][:, words].mean(1, keepdim=True).expand(HEADS, SEQ, HEAD_DIM)
        for attention in (sdpa, explicit_attention):
            result = attention(query, key, value, attn_mask=mask, scale=SCALE)[b]
            torch.testing.assert_close(result, mean, **TIGHT)


@masks
@both_modes
@pytest.mark.parametrize("seq", [1, SEQ])
def test_the_fused_path_equals_the_explicit_one_with_gradients(
    masking: str, training: bool, seq: int
) -> None:
    """In training too: on the CPU both paths draw the dropout mask alike, from the same seed.

    Where dropout is on, torch's CPU operator takes its composed form, which drops attention
    weights by the very call that the explicit path makes.
    """
    outcomes = []
    for attention in (sdpa, explicit_attention):
        layer = module(attention=attention, dropout=0.3).train(training)
        x = random(BATCH, seq, EMBED).requires_grad_()
        bias, padding = parts(masking, seq)
        if bias is not None:
            bias.requires_grad_()
        mask = attention_mask(bias, padding, dtype=x.dtype)
        torch.manual_seed(11)
        out = layer(x, attn_mask=mask)
        out.backward(random(*out.shape, seed=3))
        gradients = [x.grad, *(p.grad for p in layer.parameters())]
        outcomes.append([out, *gradients, *([bias.grad] if bias is not None else [])])
    for fused, explicit in zip(*outcomes, strict=True):
        torch.testing.assert_close(fused, explicit, **TIGHT)
    if training:
        assert not torch.allclose(out, layer.eval()(x, attn_mask=mask))  # something was dropped


@both_paths
def test_nothing_is_dropped_in_evaluation(attention) -> None:
    x = random(BATCH, SEQ, EMBED)
    dropping, plain = (module(attention=attention, dropout=p).eval() for p in (0.9, 0.0))
    assert torch.equal(dropping(x), plain(x))


@both_paths
def test_dropped_weights_keep_the_expectation(attention) -> None:
    query, key, value = random(3, 1, HEADS, SEQ, HEAD_DIM)
    copies = 4001
    torch.manual_seed(5)
    mean = attention(
        *(x.expand(copies, -1, -1, -1) for x in (query, key, value)), dropout_p=0.3, scale=SCALE
    ).mean(0, keepdim=True)
    expected = attention(query, key, value, scale=SCALE)
    # Each weight w becomes 0 or w / 0.7: variance w^2 0.3 / 0.7 on each, summed over the keys.
    weights = torch.softmax(query @ key.transpose(2, 3) * SCALE, -1)
    deviation = ((weights**2 * 0.3 / 0.7) @ value**2 / copies).sqrt()
    assert ((mean - expected).abs() < 5 * deviation).all()


@both_paths
@both_modes
def test_gradients(attention, training: bool) -> None:
    layer = module(attention=attention, heads=2, head_dim=3).train(training)
    names, values = zip(*layer.named_parameters(), strict=True)
    bias = random(2, 3, 3, seed=2).requires_grad_()
    padding = torch.tensor([[False, False, False], [False, False, True]])

    def attend(x: Tensor, bias: Tensor, *parameters: Tensor) -> Tensor:
        mask = attention_mask(bias, padding, dtype=x.dtype)
        named = dict(zip(names, parameters, strict=True))
        return functional_call(layer, named, (x,), {"attn_mask": mask})

    assert torch.autograd.gradcheck(attend, (random(2, 3, 6).requires_grad_(), bias, *values))


# ---- the module


@both_paths
@masks
@both_modes
@pytest.mark.parametrize("seq", [1, SEQ])
def test_the_module_equals_the_naive_reference(
    attention, masking: str, training: bool, seq: int
) -> None:
    layer = module(attention=attention).train(training)
    x = random(BATCH, seq, EMBED)
    bias, padding = parts(masking, seq)
    terms = PositionTerms(
        query=random(HEADS, seq, HEAD_DIM, seed=3), key=random(HEADS, seq, HEAD_DIM, seed=4)
    )
    for positions in (PositionTerms(), terms):
        mask = attention_mask(bias, padding, dtype=x.dtype)
        expected = reference.multihead(
            dict(layer.named_parameters()),
            x,
            HEADS,
            scale=SCALE,
            bias=bias,
            padding=padding,
            position_query=positions.query,
            position_key=positions.key,
        )
        result = layer(x, attn_mask=mask, positions=positions)
        torch.testing.assert_close(result, expected, **TIGHT)


@masks
def test_with_the_usual_scale_it_is_torch_s_own_attention(masking: str) -> None:
    layer = module()
    layer.scale = HEAD_DIM**-0.5
    theirs = nn.MultiheadAttention(EMBED, HEADS, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict(layer.state_dict())  # same names: packed as the authors pack them
    x = random(BATCH, SEQ, EMBED)
    bias, padding = parts(masking)
    mask = attention_mask(bias, padding, dtype=x.dtype)
    expected, _ = theirs(
        x,
        x,
        x,
        attn_mask=None if bias is None else bias.repeat(BATCH, 1, 1),
        key_padding_mask=padding if bias is None else float_padding(padding, x.dtype),
    )
    torch.testing.assert_close(layer(x, attn_mask=mask), expected, **TIGHT)


@both_paths
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@masks
def test_half_precision_errs_at_most_twice_as_much_as_plain_torch(
    attention, dtype: torch.dtype, masking: str
) -> None:
    """Plain torch: its own ``MultiheadAttention`` in that precision, on the same numbers."""
    batch, seq, heads, head_dim = 5, 67, 3, 32
    layer = MultiheadSelfAttention(
        heads * head_dim, heads, scale=head_dim**-0.5, attention=attention
    )
    randomized(layer, std=0.1).to(dtype)
    theirs = nn.MultiheadAttention(heads * head_dim, heads, batch_first=True, dtype=dtype)
    theirs.load_state_dict(layer.state_dict())
    x = random(batch, seq, heads * head_dim, dtype=dtype)
    bias = random(heads, seq, seq, seed=2, dtype=dtype) if "bias" in masking else None
    padding = None
    if "padding" in masking:
        padding = torch.arange(seq).expand(batch, seq) >= torch.tensor([[67], [61], [53], [2], [1]])
    mask = attention_mask(bias, padding, dtype=dtype)
    ours = layer(x, attn_mask=mask)
    plain, _ = theirs(
        x,
        x,
        x,
        attn_mask=None if bias is None else bias.repeat(batch, 1, 1),
        key_padding_mask=padding if bias is None else float_padding(padding, dtype),
        need_weights=False,
    )
    truth = layer.double()(x.double(), attn_mask=None if mask is None else mask.double())
    assert ours.dtype == dtype
    error, plain_error = ((y.double() - truth).abs().max().item() for y in (ours, plain))
    assert 0 < error <= 2 * plain_error


def test_sizes_that_do_not_divide_are_named() -> None:
    with pytest.raises(ValueError, match="embed_dim=16 is no multiple of num_heads=3"):
        MultiheadSelfAttention(16, 3, scale=1.0)
