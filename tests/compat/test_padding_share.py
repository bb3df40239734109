"""The share of padding, which every criterion of two tasks logs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fairseq import metrics
from fairseq.tasks.masked_lm import MaskedLMTask
from fairseq.tasks.sentence_prediction import SentencePredictionTask

from tests.adapters import small_batches as small
from tupe_plugin.sweep.recorder import scores_in


@pytest.mark.parametrize("training", [True, False], ids=["train", "valid"])
@pytest.mark.parametrize(
    ("task", "name", "kind", "batch"),
    [
        (MaskedLMTask, "masked_lm", "masked_lm", small.masked_tokens()),
        (MaskedLMTask, "adversarial", "masked_lm", small.masked_tokens()),
        (SentencePredictionTask, "sentence_prediction", "classification", small.sentences()),
        (SentencePredictionTask, "rdrop", "classification", small.sentences()),  # a doubled batch
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_share_is_that_of_all_batches(
    task: Any, name: str, kind: str, batch: dict[str, Any], training: bool
) -> None:
    whole = batch["net_input"]["src_tokens"]
    narrow = {  # one word
        "net_input": {"src_tokens": whole[:1, :1], "src_lengths": whole.new_ones(1)},
        "target": batch["target"][:1, :1],
        "ntokens": 1,
        "nsentences": 1,
    }
    model, criterion = small.model(), small.criterion(name, kind).train(training)
    job, optimizer = task.__new__(task), SimpleNamespace(backward=lambda loss: None)
    logs = [
        job.train_step(sample, model, criterion, optimizer, 0)[2]
        if training
        else job.valid_step(sample, model, criterion)[2]
        for sample in (batch, narrow)
    ]
    with metrics.aggregate(new_root=True) as meters:
        for some in (logs, logs[1:]):  # an update of two batches, and one of one batch
            job.reduce_metrics(some, criterion)
    shown = meters.get_smoothed_values()
    expected = int(whole.eq(small.PAD).sum()) / (whole.numel() + 1 + 1)
    assert meters["padding"].avg == pytest.approx(expected, rel=1e-12)
    assert shown["padding"] == round(expected, 3)
    assert "padding" not in scores_in(shown)
