from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from tests.core.random_parameters import randomized
from tests.references import encoder as reference
from tupe_plugin.core.heads import ClassificationHead, MaskedLMHead

BATCH, SEQ, EMBED, VOCAB, CLASSES, INNER = 2, 5, 7, 13, 3, 11
TIGHT = {"rtol": 1e-10, "atol": 1e-10}
both_modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


def features(seq: int = SEQ) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(BATCH, seq, EMBED, dtype=torch.float64, generator=generator)


def lm_head() -> MaskedLMHead:
    return randomized(MaskedLMHead(nn.Parameter(torch.empty(VOCAB, EMBED))))


def classification_head(**options: float) -> ClassificationHead:
    return randomized(ClassificationHead(EMBED, CLASSES, **options))


# ---- masked LM


@both_modes
@pytest.mark.parametrize("seq", [1, SEQ])
def test_masked_lm_equals_the_naive_reference(training: bool, seq: int) -> None:
    head, x = lm_head().train(training), features(seq)
    p = dict(head.named_parameters())
    expected = reference.masked_lm_logits(p, p["weight"], x.flatten(0, 1))
    torch.testing.assert_close(head(x), expected.view(BATCH, seq, VOCAB), **TIGHT)


def test_only_masked_positions_are_predicted() -> None:
    head, x = lm_head(), features()
    masked = torch.zeros(BATCH, SEQ, dtype=torch.bool)
    masked[0, 2] = masked[1, 0] = masked[1, 4] = True
    torch.testing.assert_close(head(x, masked), head(x)[masked], **TIGHT)
    assert head(x, torch.zeros_like(masked)).shape == (0, VOCAB)


def test_masked_lm_shares_the_embedding() -> None:
    embedding = nn.Embedding(VOCAB, EMBED)
    head = MaskedLMHead(embedding.weight)
    assert head.weight is embedding.weight
    assert torch.equal(head.bias, torch.zeros(VOCAB))


def test_zero_dense_layer_leaves_only_the_biases() -> None:
    head = lm_head()
    for parameter in (head.dense.weight, head.dense.bias, head.layer_norm.bias):
        nn.init.zeros_(parameter)  # then the normalisation is given zeros
    torch.testing.assert_close(head(features()), head.bias.expand(BATCH, SEQ, VOCAB), **TIGHT)


@both_modes
def test_masked_lm_gradients(training: bool) -> None:
    head = lm_head().train(training)
    names, values = zip(*head.named_parameters(), strict=True)
    masked = torch.tensor([[False, True, False, False, True], [True, False, False, False, False]])

    def logits(x: Tensor, *parameters: Tensor) -> Tensor:
        return functional_call(head, dict(zip(names, parameters, strict=True)), (x, masked))

    assert torch.autograd.gradcheck(logits, (features().requires_grad_(), *values))


# ---- classification


@both_modes
@pytest.mark.parametrize("seq", [1, SEQ])
def test_classification_equals_the_naive_reference(training: bool, seq: int) -> None:
    head, x = classification_head().train(training), features(seq)
    expected = reference.class_logits(dict(head.named_parameters()), x)
    torch.testing.assert_close(head(x), expected, **TIGHT)


def test_inner_width_and_its_default() -> None:
    assert classification_head(inner_dim=INNER).out_proj.weight.shape == (CLASSES, INNER)
    assert classification_head().out_proj.weight.shape == (CLASSES, EMBED)
    assert classification_head(inner_dim=INNER)(features()).shape == (BATCH, CLASSES)


def test_only_the_first_token_counts() -> None:
    head, x = classification_head(), features()
    changed = x.clone()
    changed[:, 1:] += 1
    assert torch.equal(head(x), head(changed))


@pytest.mark.parametrize("dropout", ["dropout", "input_dropout"])
def test_dropout_acts_in_training_only(dropout: str) -> None:
    head, x = classification_head(**{dropout: 0.5}), features()
    assert torch.equal(head.eval()(x), head.eval()(x))
    torch.manual_seed(1)
    first, second = head.train()(x), head(x)
    assert not torch.allclose(first, second)
    torch.manual_seed(1)
    assert torch.equal(first, head(x))


def test_all_dropped_leaves_the_bias() -> None:
    head = classification_head(dropout=1.0).train()
    assert torch.equal(head(features()), head.out_proj.bias.expand(BATCH, CLASSES))
    head = classification_head(input_dropout=1.0).train()
    torch.testing.assert_close(head(features()), head(torch.zeros(BATCH, SEQ, EMBED).double()))


@both_modes
def test_classification_gradients(training: bool) -> None:
    head = classification_head(inner_dim=INNER).train(training)
    names, values = zip(*head.named_parameters(), strict=True)

    def logits(x: Tensor, *parameters: Tensor) -> Tensor:
        return functional_call(head, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(logits, (features().requires_grad_(), *values))
