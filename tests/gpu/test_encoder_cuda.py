"""The encoder on a GPU: its fused attention against the written-out one, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.core.random_parameters import randomized
from tupe_plugin.core.attention_backends import explicit_attention, sdpa_attention
from tupe_plugin.core.encoder import TupeEncoder
from tupe_plugin.core.position_scheme import POSITION_SCHEMES

pytestmark = pytest.mark.gpu

VOCAB, PAD, HEADS, HEAD_DIM = 17, 1, 3, 32
HALVES = [torch.bfloat16, torch.float16]
SCHEMES = ["tupe-a", "tupe-r", "bert-a", "bert-a-d"]


@pytest.fixture(autouse=True)
def _full_float32() -> Iterator[None]:
    """TF32 rounds inputs to ten bits; whether it is on depends on the build."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


def encoder(scheme: str, *, attention=sdpa_attention, **options) -> TupeEncoder:
    made = TupeEncoder(
        VOCAB,
        PAD,
        num_layers=2,
        embed_dim=HEADS * HEAD_DIM,
        ffn_embed_dim=97,
        num_heads=HEADS,
        max_positions=131,
        scheme=POSITION_SCHEMES[scheme],
        attention=attention,
        **({"dropout": 0.0, "attention_dropout": 0.0} | options),
    )
    return randomized(made, std=0.1)


def sentences(padded: bool) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(2, VOCAB, (3, 67), generator=generator)
    if padded:
        tokens[1, 61:] = PAD
        tokens[2, 1:] = PAD
    return tokens


def outputs_and_gradients(module: TupeEncoder, tokens: Tensor) -> list[Tensor]:
    device, dtype = module.embed_tokens.weight.device, module.embed_tokens.weight.dtype
    module.zero_grad(set_to_none=True)
    out = module(tokens.to(device))[-1].masked_fill(tokens.eq(PAD).to(device)[..., None], 0)
    generator = torch.Generator().manual_seed(3)
    direction = torch.randn(out.shape, generator=generator, dtype=torch.float64) / 16
    out.backward(direction.to(device, dtype))
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    return [x.detach().cpu().double() for x in (out, *gradients)]


def largest_errors(ours: list[Tensor], truth: list[Tensor]) -> tuple[float, float]:
    """Of the features and of all gradients, each relative to the largest true value.

    One scale serves all gradients: that of a key's bias is zero but for rounding.
    """
    assert len(ours) == len(truth)

    def largest(tensors: list[Tensor]) -> float:
        return max(x.abs().max().item() for x in tensors)

    differences = [a - b for a, b in zip(ours, truth, strict=True)]
    return (
        largest(differences[:1]) / largest(truth[:1]),
        largest(differences[1:]) / largest(truth[1:]),
    )


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_float32_equals_float64_on_the_cpu(scheme: str, padded: bool, training: bool) -> None:
    tokens = sentences(padded)
    truth = outputs_and_gradients(encoder(scheme).train(training), tokens)
    module = encoder(scheme).train(training).to("cuda", torch.float32)
    assert max(largest_errors(outputs_and_gradients(module, tokens), truth)) < 1e-4


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_errs_at_most_twice_as_much_as_plain_torch(
    scheme: str, padded: bool, dtype: torch.dtype
) -> None:
    tokens = sentences(padded)
    errors = []
    for attention in (sdpa_attention, explicit_attention):
        module = encoder(scheme, attention=attention).to(dtype)
        truth = outputs_and_gradients(module.double(), tokens)  # of the rounded parameters
        ours = outputs_and_gradients(module.to("cuda", dtype), tokens)
        errors.append(largest_errors(ours, truth))
    fused, plain = errors
    assert fused[0] <= 2 * plain[0]
    assert fused[1] <= 2 * plain[1]


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
def test_dropped_weights_keep_the_expectation(dtype: torch.dtype) -> None:
    """The fused kernels draw another dropout mask than plain torch: only the mean is alike."""
    generator = torch.Generator("cuda").manual_seed(5)
    query, key, value = torch.randn(3, 1, HEADS, 17, HEAD_DIM, generator=generator, device="cuda")
    bias = torch.randn(HEADS, 17, 17, generator=generator, device="cuda")
    scale, copies = (2 * HEAD_DIM) ** -0.5, 4001
    many = [x.to(dtype).expand(copies, -1, -1, -1) for x in (query, key, value)]
    dropped = sdpa_attention(*many, bias=bias.to(dtype), dropout_p=0.3, scale=scale)
    weights = torch.softmax(query @ key.transpose(2, 3) * scale + bias, -1)
    deviation = ((weights**2 * 0.3 / 0.7) @ value**2 / copies).sqrt()
    rounding = 4 * torch.finfo(dtype).eps * value.abs().max()
    difference = (dropped.float().mean(0, keepdim=True) - weights @ value).abs()
    assert (difference < 6 * deviation + rounding).all()


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("padded", [True, False])
def test_training_with_dropout_gives_finite_gradients(dtype: torch.dtype, padded: bool) -> None:
    module = encoder("tupe-r", dropout=0.1, attention_dropout=0.1).train().to("cuda", dtype)
    values = outputs_and_gradients(module, sentences(padded))
    assert all(x.isfinite().all() for x in values)
    assert len(values) == 1 + len(list(module.parameters()))


def test_fused_attention_needs_less_memory_than_the_written_out_one() -> None:
    peaks = {}
    for attention in (sdpa_attention, explicit_attention):
        module = encoder("tupe-r", attention=attention, dropout=0.1, attention_dropout=0.1)
        module.train().to("cuda", torch.float16)
        tokens = torch.randint(2, VOCAB, (32, 128), device="cuda")
        for _ in range(2):  # the first also fills the libraries' workspaces
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            module(tokens)[-1].float().square().mean().backward()
            module.zero_grad(set_to_none=True)
            peaks[attention] = torch.cuda.max_memory_allocated() - before
    assert peaks[sdpa_attention] < peaks[explicit_attention]
