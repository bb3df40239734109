from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from tests.core.attention_inputs import (
    BATCH,
    HEAD_DIM,
    HEADS,
    MASKINGS,
    SEQ,
    TIGHT,
    bias_and_padding,
    random,
)
from tests.core.random_parameters import randomized
from tests.references import attention as reference
from tupe_plugin.core.attention import MultiheadSelfAttention, PositionTerms
from tupe_plugin.core.attention_backends import explicit_attention, sdpa_attention

EMBED = HEADS * HEAD_DIM
SCALE = (2 * HEAD_DIM) ** -0.5
BACKENDS_IN_TRAINING = [explicit_attention, sdpa_attention]  # with gradients on a CPU

both_modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
both_paths = pytest.mark.parametrize("attention", BACKENDS_IN_TRAINING)
masks = pytest.mark.parametrize("masking", MASKINGS)


def masking_of(bias: Tensor | None, padding: Tensor | None) -> dict[str, Any]:
    return {"positions": PositionTerms(attn_bias=bias), "key_padding": padding}


def float_padding(padding: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """The padding as torch's own attention wants it beside a float bias."""
    if padding is None:
        return None
    return torch.zeros(padding.shape, dtype=dtype).masked_fill(padding, -torch.inf)


def module(
    *, attention=sdpa_attention, dropout: float = 0.0, heads: int = HEADS, head_dim: int = HEAD_DIM
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
    for attention in BACKENDS_IN_TRAINING:
        layer = module(attention=attention, dropout=0.3).train(training)
        x = random(BATCH, seq, EMBED).requires_grad_()
        bias, padding = bias_and_padding(masking, seq)
        if bias is not None:
            bias.requires_grad_()
        torch.manual_seed(11)
        out = layer(x, **masking_of(bias, padding))
        out.backward(random(*out.shape, seed=3))
        gradients = [x.grad, *(p.grad for p in layer.parameters())]
        outcomes.append([out, *gradients, *([bias.grad] if bias is not None else [])])
    for fused, explicit in zip(*outcomes, strict=True):
        torch.testing.assert_close(fused, explicit, **TIGHT)
    if training:
        kept = layer.eval()(x, **masking_of(bias, padding))
        assert not torch.allclose(out, kept)  # something was dropped


@both_paths
def test_nothing_is_dropped_in_evaluation(attention) -> None:
    x = random(BATCH, SEQ, EMBED)
    dropping, plain = (module(attention=attention, dropout=p).eval() for p in (0.9, 0.0))
    assert torch.equal(dropping(x), plain(x))


@both_paths
@both_modes
def test_gradients(attention, training: bool) -> None:
    layer = module(attention=attention, heads=2, head_dim=3).train(training)
    names, values = zip(*layer.named_parameters(), strict=True)
    bias = random(2, 3, 3, seed=2).requires_grad_()
    padding = torch.tensor([[False, False, False], [False, False, True]])

    def attend(x: Tensor, bias: Tensor, *parameters: Tensor) -> Tensor:
        named = dict(zip(names, parameters, strict=True))
        return functional_call(layer, named, (x,), masking_of(bias, padding))

    assert torch.autograd.gradcheck(attend, (random(2, 3, 6).requires_grad_(), bias, *values))


@both_paths
@masks
@both_modes
@pytest.mark.parametrize("seq", [1, SEQ])
def test_the_module_equals_the_naive_reference(
    attention, masking: str, training: bool, seq: int
) -> None:
    layer = module(attention=attention).train(training)
    x = random(BATCH, seq, EMBED)
    bias, padding = bias_and_padding(masking, seq)
    terms = PositionTerms(
        query=random(HEADS, seq, HEAD_DIM, seed=3), key=random(HEADS, seq, HEAD_DIM, seed=4)
    )
    for positions in (PositionTerms(), terms):
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
        result = layer(x, key_padding=padding, positions=positions._replace(attn_bias=bias))
        torch.testing.assert_close(result, expected, **TIGHT)


@masks
def test_with_the_usual_scale_it_is_torch_s_own_attention(masking: str) -> None:
    layer = module()
    layer.scale = HEAD_DIM**-0.5
    theirs = nn.MultiheadAttention(EMBED, HEADS, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict(layer.state_dict())  # same names: packed as the authors pack them
    x = random(BATCH, SEQ, EMBED)
    bias, padding = bias_and_padding(masking)
    expected, _ = theirs(
        x,
        x,
        x,
        attn_mask=None if bias is None else bias.repeat(BATCH, 1, 1),
        key_padding_mask=padding if bias is None else float_padding(padding, x.dtype),
    )
    torch.testing.assert_close(layer(x, **masking_of(bias, padding)), expected, **TIGHT)


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
    ours = layer(x, **masking_of(bias, padding))
    plain, _ = theirs(
        x,
        x,
        x,
        attn_mask=None if bias is None else bias.repeat(batch, 1, 1),
        key_padding_mask=padding if bias is None else float_padding(padding, dtype),
        need_weights=False,
    )
    truth = layer.double()(
        x.double(), **masking_of(None if bias is None else bias.double(), padding)
    )
    assert ours.dtype == dtype
    error, plain_error = ((y.double() - truth).abs().max().item() for y in (ours, plain))
    assert 0 < error <= 2 * plain_error


def test_sizes_that_do_not_divide_are_named() -> None:
    with pytest.raises(ValueError, match="embed_dim=16 is no multiple of num_heads=3"):
        MultiheadSelfAttention(16, 3, scale=1.0)
