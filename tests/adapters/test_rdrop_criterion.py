"""`--criterion rdrop` on a real model: one doubled forward, plain sample size, plain validation."""

from __future__ import annotations

import pytest
import torch
from fairseq import metrics
from fairseq.criterions.sentence_prediction import SentencePredictionConfig

from tests.adapters import small_batches as small
from tests.references import rdrop as reference
from tupe_plugin.criterions.loss_terms import term_of
from tupe_plugin.criterions.rdrop import RDropConfig, RDropCriterion
from tupe_plugin.criterions.sentence_prediction import WholeSetSentencePredictionCriterion

ALPHA = 0.7
both_kinds = pytest.mark.parametrize("regression", [False, True])


def classes(regression: bool) -> int:
    return 1 if regression else 3


def rdrop(regression: bool = False, alpha: float = ALPHA) -> RDropCriterion:
    cfg = RDropConfig(regression_target=regression, rdrop_alpha=alpha)
    return RDropCriterion(cfg, small.task(classes=classes(regression)))


def plain(regression: bool = False) -> WholeSetSentencePredictionCriterion:
    cfg = SentencePredictionConfig(regression_target=regression)
    return WholeSetSentencePredictionCriterion(cfg, small.task(classes=classes(regression)))


@both_kinds
def test_one_forward_over_the_doubled_batch_gives_the_papers_loss(regression) -> None:
    model, sample = small.model(classes=classes(regression)), small.sentences(regression=regression)
    seen = []
    model.register_forward_hook(
        lambda module, args, kwargs, output: seen.append((kwargs["src_tokens"], output[0])),
        with_kwargs=True,
    )
    torch.manual_seed(3)
    loss, sample_size, log = rdrop(regression).train()(model, sample)
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


@both_kinds
def test_without_dropout_loss_and_gradient_are_the_plain_ones(regression) -> None:
    outcomes = []
    for criterion in (plain(regression), rdrop(regression)):
        model = small.model(classes=classes(regression), dropout=0.0)
        sample = small.sentences(regression=regression)
        loss, sample_size, _ = criterion.train()(model, sample)
        loss.backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        outcomes.append((loss, sample_size, gradients))
    (loss, size, gradients), (our_loss, our_size, our_gradients) = outcomes
    assert our_loss.item() == pytest.approx(loss.item(), rel=1e-6)
    assert size == our_size
    assert gradients.keys() == our_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(our_gradients[name], gradient, rtol=1e-5, atol=1e-6, msg=name)


@both_kinds
def test_validation_is_the_plain_criterions(regression) -> None:
    model = small.model(classes=classes(regression)).eval()
    sample = small.sentences(regression=regression)
    with torch.no_grad():
        results = [c.eval()(model, sample) for c in (plain(regression), rdrop(regression))]
    (loss, size, log), (our_loss, our_size, our_log) = results
    assert torch.equal(loss, our_loss)
    assert size == our_size
    assert log.keys() == our_log.keys()
    values = []
    for criterion, (_, _, entry) in zip(
        (plain(regression), rdrop(regression)), results, strict=True
    ):
        with metrics.aggregate() as meters:
            criterion.reduce_metrics([entry])
        values.append(meters.get_smoothed_values())
    assert values[0] == values[1]
    assert ("pearson" if regression else "accuracy") in values[0]


def test_the_terms_are_logged_for_each_sentence() -> None:
    model, sample = small.model(), small.sentences()
    criterion = rdrop().train()
    logs = [criterion(model, sample)[2] for _ in range(2)]
    with metrics.aggregate() as meters:
        criterion.reduce_metrics(logs)
    values = meters.get_smoothed_values()
    assert values["rdrop_divergence"] > 0
    whole = values["task_loss"] + ALPHA * values["rdrop_divergence"]
    assert values["loss"] == pytest.approx(whole, abs=2e-3)


def test_the_criterion_checks_its_own_options() -> None:
    with pytest.raises(ValueError, match="--rdrop-alpha nan: give a number from 0 to 10,000"):
        rdrop(alpha=float("nan"))


def test_frozen_parameters_get_no_gradient() -> None:
    model, sample = small.model(), small.sentences()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("classification_heads"))
    rdrop().train()(model, sample)[0].backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None}
    assert trained
    assert all(name.startswith("classification_heads") for name in trained)
