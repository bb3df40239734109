"""The criterion against fairseq's own, and its whole-set metrics against scikit-learn and scipy."""

import argparse
import io
import logging
import math
import types
import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
import torch
from fairseq import metrics
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.criterions.sentence_prediction import (
    SentencePredictionConfig,
    SentencePredictionCriterion,
)
from fairseq.data import Dictionary
from fairseq.logging.progress_bar import format_stat
from fairseq.tasks import FairseqTask
from fairseq.trainer import Trainer

from tupe_plugin.criterions.prediction_table import PredictionTable
from tupe_plugin.criterions.sentence_prediction import WholeSetSentencePredictionCriterion
from tupe_plugin.whole_set_metrics import METRIC_NAMES, warn_once, whole_set_metrics

SENTENCES = 53


class LogitsFromInput(torch.nn.Module):
    """A model whose logits are its input, as fairseq's criterion wants a model."""

    def __init__(self):
        super().__init__()
        self.args = argparse.Namespace()
        self.classification_heads = {"sentence_classification_head": None}

    def forward(self, logits, features_only, classification_head_name):
        return logits, None

    def get_targets(self, sample, net_output):
        return sample["target"]


def make_task(labels, *, num_classes=None):
    dictionary = Dictionary()
    for label in labels:
        dictionary.add_symbol(label)
    dictionary.add_symbol("<mask>")
    cfg = types.SimpleNamespace(num_classes=num_classes or len(labels))
    return types.SimpleNamespace(cfg=cfg, label_dictionary=dictionary)


def make_criterion(labels=("0", "1"), *, regression=False, cls=WholeSetSentencePredictionCriterion):
    cfg = SentencePredictionConfig(regression_target=regression)
    return cls(cfg, make_task(labels))


def make_sample(logits, targets):
    return {
        "net_input": {"logits": logits},
        "target": targets.view(-1, 1),
        "ntokens": 7 * len(targets),
    }


def make_set(classes, *, seed=0):
    """Logits (SENTENCES, classes) that are right more often than not, and targets (SENTENCES,)."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(classes, (SENTENCES,), generator=generator)
    logits = torch.randn(SENTENCES, classes, generator=generator)
    logits[torch.arange(SENTENCES), targets] += 0.8
    return logits, targets


def validate(criterion, logits, targets, *, batch_size):
    """Values of a validation pass as fairseq_cli/train.py gets them from its trainer."""
    criterion.eval()
    trainer = types.SimpleNamespace(
        cfg=types.SimpleNamespace(optimization=types.SimpleNamespace(clip_norm=0.0)),
        task=FairseqTask(None),
        get_criterion=lambda: criterion,
        tpu=False,
        _warn_once=set(),
    )
    model = LogitsFromInput().eval()
    with metrics.aggregate(new_root=True) as of_the_pass:
        for start in range(0, len(targets), batch_size):
            batch = slice(start, start + batch_size)
            with metrics.aggregate("valid"):
                _, sample_size, log = criterion(model, make_sample(logits[batch], targets[batch]))
                Trainer._reduce_and_log_stats(trainer, [log], sample_size)
    return of_the_pass.get_smoothed_values()


@pytest.fixture(autouse=True)
def _fresh_meters():
    metrics.reset()
    warn_once.cache_clear()
    yield
    metrics.reset()


def test_takes_fairseqs_place_under_a_name_of_its_own():
    assert CRITERION_REGISTRY["sentence_prediction"] is WholeSetSentencePredictionCriterion
    names = [criterion.__name__ for criterion in CRITERION_REGISTRY.values()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_loss_and_gradient_are_fairseqs(regression, training):
    logits, targets = make_set(1 if regression else 3)
    results = []
    for cls in (SentencePredictionCriterion, WholeSetSentencePredictionCriterion):
        criterion = make_criterion(("a", "b", "c"), regression=regression, cls=cls).train(training)
        own = logits.clone().requires_grad_()
        loss, sample_size, log = criterion(LogitsFromInput(), make_sample(own, targets))
        loss.backward()
        results.append((loss, sample_size, own.grad, log))
    (loss, size, gradient, log), (our_loss, our_size, our_gradient, our_log) = results
    assert torch.equal(loss, our_loss)
    assert size == our_size == SENTENCES
    assert torch.equal(gradient, our_gradient)
    if training:
        assert our_log == log


def test_training_log_is_fairseqs():
    logits, targets = make_set(2)
    values = []
    for cls in (SentencePredictionCriterion, WholeSetSentencePredictionCriterion):
        criterion = make_criterion(cls=cls).train()
        _, _, log = criterion(LogitsFromInput(), make_sample(logits, targets))
        with metrics.aggregate() as meters:
            criterion.reduce_metrics([log, log])
        values.append(meters.get_smoothed_values())
    assert values[0] == values[1]
    assert set(values[0]) == {"loss", "nll_loss", "accuracy"}


KINDS = {"binary": ("0", "1"), "multiclass": ("a", "b", "c"), "regression": ("0", "1")}


def expected_metrics(kind, predictions, targets):
    if kind == "regression":
        pearson = scipy.stats.pearsonr(predictions, targets)[0]
        spearman = scipy.stats.spearmanr(predictions, targets)[0]
        mean = (pearson + spearman) / 2
        return {"pearson": pearson, "spearman": spearman, "pearson_and_spearman": mean}
    accuracy = sklearn.metrics.accuracy_score(targets, predictions)
    expected = {
        "accuracy": 100 * accuracy,
        "mcc": sklearn.metrics.matthews_corrcoef(targets, predictions),
        "macro_f1": sklearn.metrics.f1_score(targets, predictions, average="macro"),
    }
    if kind == "binary":
        f1 = sklearn.metrics.f1_score(targets, predictions)
        expected |= {"f1": f1, "acc_and_f1": (accuracy + f1) / 2}
    return expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [1, 7, 32, SENTENCES, 100])
def test_metrics_equal_scikit_learn_and_scipy_whatever_the_batches(kind, batch_size):
    """As Python floats of full precision, and none beside them."""
    regression = kind == "regression"
    logits, targets = make_set(1 if regression else len(KINDS[kind]))
    if regression:
        targets = logits.view(-1) + torch.linspace(-2, 2, SENTENCES).sin()
    criterion = make_criterion(KINDS[kind], regression=regression)
    values = validate(criterion, logits, targets, batch_size=batch_size)
    predictions = logits.view(-1).double() if regression else logits.argmax(1)
    expected = expected_metrics(kind, predictions, targets.double() if regression else targets)
    names = {name for known in METRIC_NAMES.values() for name in known}
    assert {name: values[name] for name in values.keys() & names} == expected
    assert expected.keys() == set(METRIC_NAMES[kind])
    assert all(type(values[name]) is float for name in expected)
    assert all(0.1 < abs(value) < 99 for value in expected.values())  # none is trivial


@pytest.mark.parametrize(
    ("labels", "positive"),
    [
        (("0", "1"), "1"),
        (("1", "0"), "1"),  # the more frequent label comes first in a fairseq dictionary
        (("not_entailment", "entailment"), "entailment"),
        (("entailment", "not_entailment"), "entailment"),
        (("Not_Duplicate", "Duplicate"), "Duplicate"),
        (("equivalent", "not_equivalent"), "equivalent"),
    ],
)
def test_positive_class_is_found_by_its_text(labels, positive):
    logits, targets = make_set(2)
    values = validate(make_criterion(labels), logits, targets, batch_size=10)
    expected = sklearn.metrics.f1_score(
        np.array(labels)[targets], np.array(labels)[logits.argmax(1)], pos_label=positive
    )
    other = sklearn.metrics.f1_score(
        targets, logits.argmax(1), pos_label=1 - labels.index(positive)
    )
    assert values["f1"] == expected != other


@pytest.mark.parametrize("labels", [("cats", "dogs"), ("1", "true"), ("0", "2")])
def test_two_classes_without_one_positive_have_no_binary_f1(labels, caplog):
    logits, targets = make_set(2)
    with caplog.at_level(logging.INFO):
        criterion = make_criterion(labels)
    assert f"labels {list(labels)}: none is the positive one" in caplog.text
    values = validate(criterion, logits, targets, batch_size=10)
    assert not values.keys() & {"f1", "acc_and_f1"}
    assert values["macro_f1"] == sklearn.metrics.f1_score(
        targets, logits.argmax(1), average="macro"
    )


def test_each_pass_starts_afresh():
    criterion = make_criterion()
    validate(criterion, *make_set(2, seed=1), batch_size=10)
    second = validate(criterion, *make_set(2, seed=2), batch_size=10)
    metrics.reset()
    assert second["mcc"] == validate(criterion, *make_set(2, seed=2), batch_size=10)["mcc"]


def test_checkpoints_hold_no_predictions_and_load_safely():
    logits, targets = make_set(2)
    before = None
    for _ in range(3):
        validate(make_criterion(), logits, targets, batch_size=10)
        file = io.BytesIO()
        torch.save(metrics.state_dict(), file)
        assert before is None or file.tell() == before
        before = file.tell()
    file.seek(0)
    metrics.load_state_dict(torch.load(file, weights_only=True))
    names = set(metrics.get_meters("valid"))
    assert "loss" in names
    assert not names & {"mcc", "accuracy", "_binary_predictions"}


def test_fairseq_validate_gets_the_values_too():
    logits, targets = make_set(2)
    criterion = make_criterion().eval()
    logs = [
        criterion(LogitsFromInput(), make_sample(logits[i : i + 8], targets[i : i + 8]))[2]
        for i in range(0, SENTENCES, 8)
    ]
    with metrics.aggregate() as meters:  # fairseq_cli/validate.py: all batches at once
        criterion.reduce_metrics(logs)
    expected = sklearn.metrics.matthews_corrcoef(targets, logits.argmax(1))
    assert meters.get_smoothed_values()["mcc"] == expected
    assert format_stat(logs[0]["binary_predictions"]) == "8 sentences"


def test_columns_of_dummy_batches_are_not_counted():
    """What fairseq sums over two workers, the second of which has only a dummy batch."""
    logits, targets = make_set(2)
    own = make_criterion().eval()(LogitsFromInput(), make_sample(logits, targets))[2]
    table = own["binary_predictions"]
    summed = torch.cat([table, torch.zeros(3, 10, dtype=torch.double)], dim=1)
    with metrics.aggregate() as meters:
        WholeSetSentencePredictionCriterion.reduce_metrics([own | {"binary_predictions": summed}])
    expected = sklearn.metrics.accuracy_score(targets, logits.argmax(1))
    assert meters.get_smoothed_values()["accuracy"] == 100 * expected


def test_operations_on_a_table_give_plain_tensors():
    table = torch.ones(3, 2, dtype=torch.double).as_subclass(PredictionTable)
    for result in (table + 1, torch.cat([table.view(-1), torch.ones(1)]), torch.zeros_like(table)):
        assert type(result) is torch.Tensor


@pytest.mark.parametrize(
    ("kind", "predictions", "targets", "zero", "warning"),
    [
        ("binary", [0, 0, 0], [0, 1, 0], ("mcc", "f1"), "all of one class"),
        ("binary", [0, 1, 0], [0, 0, 0], ("mcc", "f1"), "all of one class"),
        ("binary", [0, 0, 0], [0, 0, 0], ("mcc", "f1"), "no sentence of the positive class"),
        ("multiclass", [2, 2, 2], [0, 1, 2], ("mcc",), "all of one class"),
        ("regression", [0.5, 0.5], [1.0, 2.0], METRIC_NAMES["regression"], "all equal"),
        ("regression", [0.5, 0.7], [1.0, 1.0], METRIC_NAMES["regression"], "all equal"),
        ("regression", [0.5], [1.0], METRIC_NAMES["regression"], "all equal"),
        ("regression", [math.nan, 1.0], [1.0, 2.0], METRIC_NAMES["regression"], "not finite"),
        ("regression", [math.inf, 1.0], [1.0, 2.0], METRIC_NAMES["regression"], "not finite"),
        ("regression", [], [], METRIC_NAMES["regression"], "no sentence to score"),
        ("binary", [], [], METRIC_NAMES["binary"], "no sentence to score"),
    ],
)
def test_undefined_metrics_are_0_with_one_warning(
    kind, predictions, targets, zero, warning, caplog
):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            scores = whole_set_metrics(predictions, targets, kind=kind)
    assert set(scores) == set(METRIC_NAMES[kind])
    assert all(math.isfinite(value) for value in scores.values())
    assert [scores[name] for name in zero] == [0.0] * len(zero)
    assert sum(warning in record.message for record in caplog.records) == 1
    assert len(caplog.records) == len({record.message for record in caplog.records})


def test_one_class_set_that_is_all_right_has_full_accuracy():
    scores = whole_set_metrics([1, 1, 1], [1, 1, 1], kind="binary")
    assert (scores["accuracy"], scores["f1"], scores["mcc"]) == (100.0, 1.0, 0.0)


def test_nearly_constant_predictions_keep_their_value():
    targets = np.linspace(1, 5, 11)
    scores = whole_set_metrics(3 + 1e-9 * targets, targets, kind="regression")
    assert scores["pearson"] == pytest.approx(1.0, abs=1e-6)


def test_half_precision_logits_are_scored_as_they_are():
    logits, targets = make_set(1)
    logits, targets = logits.half(), torch.linspace(0, 5, SENTENCES).half()
    values = validate(make_criterion(regression=True), logits, targets, batch_size=9)
    expected = scipy.stats.pearsonr(logits.view(-1).double(), targets.double())[0]
    assert values["pearson"] == expected


def test_fewer_classes_than_labels_are_refused():
    cfg = SentencePredictionConfig()
    task = make_task(("entailment", "neutral", "contradiction"), num_classes=2)
    with pytest.raises(ValueError, match=r"--num-classes 2: the data has 3 labels \(entailment, "):
        WholeSetSentencePredictionCriterion(cfg, task)
    # A dictionary may have been padded, and holds <mask>.
    task = make_task(("0", "1", "madeupword0002"), num_classes=2)
    WholeSetSentencePredictionCriterion(cfg, task)


def test_a_forgotten_init_token_is_told(caplog):
    for init_token, told in ((None, True), (0, False)):
        caplog.clear()
        task = make_task(("0", "1"))
        task.cfg.init_token = init_token
        WholeSetSentencePredictionCriterion(SentencePredictionConfig(), task)
        assert ("no --init-token" in caplog.text) == told
