"""`--criterion rdrop`: one doubled forward. See also `tests/contracts/test_criterions.py`."""

from __future__ import annotations

import pytest
import torch

from tests.adapters import small_batches as small
from tests.references import rdrop as reference
from tupe_plugin.criterions.loss_terms import term_of

ALPHA = 0.7


@pytest.mark.parametrize("regression", [False, True])
def test_one_forward_over_the_doubled_batch_gives_the_papers_loss(regression) -> None:
    model = small.model(classes=1 if regression else 3)
    sample = small.sentences(regression=regression)
    kind = "regression" if regression else "classification"
    seen = []
    model.register_forward_hook(
        lambda module, args, kwargs, output: seen.append((kwargs["src_tokens"], output[0])),
        with_kwargs=True,
    )
    torch.manual_seed(3)
    loss, sample_size, log = small.criterion("rdrop", kind, rdrop_alpha=ALPHA)(model, sample)
    ((tokens, prediction),) = seen
    assert torch.equal(tokens, sample["net_input"]["src_tokens"].repeat(2, 1))
    assert sample_size == log["sample_size"] == small.BATCH
    targets = sample["target"].view(-1).tolist()
    if regression:
        first, second = prediction.view(2, -1).tolist()
        expected = reference.regression_loss(first, second, targets, ALPHA)
    else:
        first, second = (half.tolist() for half in prediction.chunk(2))
        expected = reference.classification_loss(first, second, targets, ALPHA)
    assert first != second
    # fairseq computes its loss in float32 whatever the model's type is
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert log["loss"] == loss
    parts = term_of(log, "task_loss") + ALPHA * term_of(log, "rdrop_divergence")
    assert parts.item() == pytest.approx(expected, rel=1e-5)
