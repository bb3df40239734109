from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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
from tests.references import attention as reference
from tupe_plugin.core.attention_backends import (
    BACKENDS,
    NoiseTerms,
    attention_backend,
    explicit_attention,
    sdpa_attention,
)

SCALE = (2 * HEAD_DIM) ** -0.5
WITH_DROPOUT = [explicit_attention, sdpa_attention]

# Of triton: test_triton_attention.py.
every_backend = pytest.mark.parametrize("name", ["explicit", "sdpa", "flex"])
masks = pytest.mark.parametrize("masking", MASKINGS)


@every_backend
@masks
@pytest.mark.parametrize("seq", [1, SEQ])
def test_every_backend_equals_the_naive_reference(name: str, masking: str, seq: int) -> None:
    query, key, value = random(3, BATCH, HEADS, seq, HEAD_DIM)
    bias, padding = bias_and_padding(masking, seq)
    result = BACKENDS[name](query, key, value, bias=bias, key_padding=padding, scale=SCALE)
    expected = reference.attend(query, key, value, scale=SCALE, bias=bias, padding=padding)
    torch.testing.assert_close(result, expected, **TIGHT)


@every_backend
@pytest.mark.parametrize("masking", ["nothing", "bias and padding"])
def test_equal_logits_average_the_values(name: str, masking: str) -> None:
    query = torch.zeros(BATCH, HEADS, SEQ, HEAD_DIM, dtype=torch.float64)
    key, value = random(2, BATCH, HEADS, SEQ, HEAD_DIM)
    bias, padding = bias_and_padding(masking)
    if bias is not None:
        bias = torch.full_like(bias, 0.7)
    result = BACKENDS[name](query, key, value, bias=bias, key_padding=padding, scale=SCALE)
    for b in range(BATCH):
        words = ~padding[b] if padding is not None else torch.ones(SEQ, dtype=torch.bool)
        mean = value[b][:, words].mean(1, keepdim=True).expand(HEADS, SEQ, HEAD_DIM)
        torch.testing.assert_close(result[b], mean, **TIGHT)


@every_backend
@pytest.mark.parametrize("masking", ["padding", "bias and padding"])
def test_a_sentence_of_padding_alone_gives_numbers(name: str, masking: str) -> None:
    query, key, value = random(3, BATCH, HEADS, SEQ, HEAD_DIM)
    bias, padding = bias_and_padding(masking)
    padding[1] = True
    result = BACKENDS[name](query, key, value, bias=bias, key_padding=padding, scale=SCALE)
    assert result.isfinite().all()


@every_backend
@pytest.mark.parametrize("masking", ["nothing", "bias and padding"])
def test_noise_enters_weights_and_logits(name: str, masking: str) -> None:
    """By the equation: on the logits it is a bias of its own, on the weights it is R V besides."""
    query, key, value = random(3, BATCH, HEADS, SEQ, HEAD_DIM)
    bias, padding = bias_and_padding(masking)
    on_weights, on_logits = random(2, BATCH, HEADS, SEQ, SEQ, seed=4)
    options = {"key_padding": padding, "scale": SCALE}
    result = BACKENDS[name](
        query, key, value, bias=bias, noise=NoiseTerms(on_weights, on_logits), **options
    )
    for b in range(BATCH):
        own = on_logits[b] if bias is None else bias + on_logits[b]
        row = slice(b, b + 1)
        expected = reference.attend(
            *(x[row] for x in (query, key, value)),
            scale=SCALE,
            bias=own,
            padding=None if padding is None else padding[row],
        )
        torch.testing.assert_close(result[row], expected + on_weights[row] @ value[row], **TIGHT)


@pytest.mark.parametrize("attention", WITH_DROPOUT)
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


def test_a_generator_decides_what_is_dropped() -> None:
    query, key, value = random(3, BATCH, HEADS, SEQ, HEAD_DIM)

    def dropped(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        options = {"dropout_p": 0.3, "scale": SCALE, "generator": generator}
        return explicit_attention(query, key, value, **options)

    assert torch.equal(dropped(3), dropped(3))
    assert not torch.equal(dropped(3), dropped(4))


class LargeTensors(TorchDispatchMode):
    """Counts what operators make that takes so many bytes."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.count = size, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        known = {x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if _is(x)}
        for tensor in filter(_is, tree_leaves(made)):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in known and storage.nbytes() >= self.size:
                self.count += 1
        return made


def _is(leaf: object) -> bool:
    return isinstance(leaf, Tensor)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_padding_makes_no_copy_of_the_bias_for_each_sentence(training: bool) -> None:
    """No tensor of the size of (batch, heads, query, key) more than without padding."""
    seq = 64  # so that such a tensor is larger than the queries
    query, key, value = (x.requires_grad_(training) for x in random(3, BATCH, HEADS, seq, HEAD_DIM))
    bias, padding = bias_and_padding("bias and padding", seq)
    bias.requires_grad_(training)
    options = {"bias": bias, "scale": SCALE, "dropout_p": 0.1 if training else 0.0}

    def large(attention, key_padding: Tensor | None) -> int:
        with LargeTensors(BATCH * HEADS * seq * seq * query.itemsize) as counted:
            context = attention(query, key, value, key_padding=key_padding, **options)
            if training:
                context.sum().backward()
        return counted.count

    assert large(sdpa_attention, padding) == large(sdpa_attention, None)
    assert large(explicit_attention, padding) > large(explicit_attention, None)


@pytest.mark.parametrize(
    ("name", "training", "options", "message"),
    [
        ("flex", False, {"dropout_p": 0.1}, "flex has no dropout on attention weights, and 0.1 is"),
        ("flex", True, {}, "flex has no gradients on a CPU: choose sdpa"),
        ("sdpa", False, {"dropout_p": 0.1, "generator": torch.Generator()}, "sdpa draws its drop"),
    ],
    ids=["dropout", "gradients", "generator"],
)
def test_what_a_backend_does_not_have_is_said(
    name: str, training: bool, options: dict[str, Any], message: str
) -> None:
    query, key, value = random(3, 1, 1, SEQ, HEAD_DIM).requires_grad_(training)
    with pytest.raises(ValueError, match=message):
        BACKENDS[name](query, key, value, scale=SCALE, **options)


def test_a_backend_has_a_name() -> None:
    assert attention_backend("auto") is attention_backend("sdpa") is sdpa_attention
    with pytest.raises(ValueError, match="no attention backend 'flash': choose auto, explicit, "):
        attention_backend("flash")
