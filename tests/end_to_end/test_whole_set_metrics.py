"""Dev metrics of real runs, against scikit-learn and scipy on predictions made one by one."""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path

import pytest
import scipy.stats
import sklearn.metrics

from .sentence_task import TINY_MODEL, write_sentence_task
from .training_jobs import logged

pytestmark = pytest.mark.slow

USER_DIR = Path(__file__).parents[2] / "tupe_plugin"
# In batches of 8: 5 and 3, so that one of two workers has no batch in the last step of each.
SIZES = {"train": 160, "valid": 37, "valid1": 23}


def label_of(words):
    """Three unbalanced classes that a small model learns partly: does "a" or "b" come first?"""
    first = next((word for word in words if word in "ab"), "")
    return {"a": "entailment", "b": "contradiction", "": "neutral"}[first]


def write_task(folder, label, *, regression=False):
    draw = random.Random(3)
    splits = {}
    for split, size in SIZES.items():
        sentences = [draw.choices("abcdefg", k=draw.randint(3, 9)) for _ in range(size)]
        splits[split] = [(" ".join(words), label(words)) for words in sentences]
    return write_sentence_task(folder, splits, regression=regression)


def arguments_for(task_bin, num_classes, *options):
    line = [task_bin, "--user-dir", USER_DIR, "--task", "sentence_prediction"]
    line += ["--num-classes", num_classes, "--criterion", "sentence_prediction", *TINY_MODEL]
    line += ["--init-token", 0, "--separator-token", 2, "--valid-subset", "valid,valid1"]
    line += ["--optimizer", "adam", "--lr", 3e-3, "--lr-scheduler", "warmup_ratio"]
    line += ["--batch-size", 8, "--num-workers", 0, "--no-epoch-checkpoints"]
    line += ["--maximize-best-checkpoint-metric", "--log-format", "json"]
    return [*line, *options]


def predict_one_by_one(checkpoint, subset):
    """Predictions and targets of a dev set: label texts, or numbers where there are none."""
    import torch
    from fairseq.checkpoint_utils import load_model_ensemble_and_task

    import tupe_plugin  # noqa: F401 -- registers the model

    (model,), cfg, task = load_model_ensemble_and_task([str(checkpoint)])
    model.eval()
    dataset = task.load_dataset(subset)
    predictions, targets = [], []
    for index in range(len(dataset)):
        sample = dataset.collater([dataset[index]])
        with torch.no_grad():
            logits, _ = model(
                **sample["net_input"],
                features_only=True,
                classification_head_name="sentence_classification_head",
            )
        if cfg.task.regression_target:
            predictions.append(logits.item())
            targets.append(sample["target"].item())
        else:
            first = task.label_dictionary.nspecial
            predictions.append(task.label_dictionary[first + int(logits.argmax())])
            targets.append(task.label_dictionary[first + int(sample["target"])])
    assert len(targets) == SIZES[subset]
    return predictions, targets


def classification_scores(predictions, targets):
    return {
        "accuracy": 100 * sklearn.metrics.accuracy_score(targets, predictions),
        "mcc": sklearn.metrics.matthews_corrcoef(targets, predictions),
        "macro_f1": sklearn.metrics.f1_score(targets, predictions, average="macro"),
    }


def regression_scores(predictions, targets):
    return {
        "pearson": scipy.stats.pearsonr(predictions, targets)[0],
        "spearman": scipy.stats.spearmanr(predictions, targets)[0],
    }


def assert_shown(entries, scores):
    """The log shows six digits."""
    shown = {name: entries[name] for name in scores}
    assert shown == pytest.approx(scores, rel=1e-5, abs=1e-5)


def best_score_of(checkpoint):
    import torch

    state = torch.load(checkpoint, weights_only=False)
    assert type(state["extra_state"]["val_loss"]) is float
    return state["extra_state"]["val_loss"]


class Trained:
    """A task, the options of its runs, and the best checkpoint of a training run on it."""

    def __init__(self, run_command, folder, label, num_classes, metric, *options, epochs=4):
        self.run_command = run_command
        self.folder = folder
        regression = "--regression-target" in options
        task_bin = write_task(folder / "task", label, regression=regression)
        self.task_bin = task_bin
        self.options = [*options, "--best-checkpoint-metric", metric]
        self.line = arguments_for(task_bin, num_classes, *self.options)
        self.best = folder / "checkpoints" / "checkpoint_best.pt"
        epochs_and_place = ["--max-epoch", epochs, "--save-dir", folder / "checkpoints"]
        self.log = run_command("fairseq-train", *self.line, *epochs_and_place).stdout

    def validate_with_two_workers(self):
        """Log of fairseq-train that restores the best checkpoint and makes an update with lr 0."""
        command = [Path(sys.executable).parent / "fairseq-train", *self.line]
        command += ["--restore-file", self.best, "--reset-optimizer", "--reset-lr-scheduler"]
        command += ["--reset-dataloader", "--reset-meters", "--no-save"]
        command += ["--max-update", 1, "--warmup-ratio", 1, "--save-dir", self.folder / "again"]
        command += ["--find-unused-parameters"]  # the masked-LM head
        command += ["--distributed-backend", "gloo"]
        launch = ["torchrun", "--standalone", "--nproc_per_node", 2]
        return self.run_command(*launch, *command).stdout

    def fairseq_validate(self, *options):
        line = [self.task_bin, "--user-dir", USER_DIR, "--task", "sentence_prediction"]
        line += ["--criterion", "sentence_prediction"]  # not taken from the checkpoint
        line += ["--path", self.best, "--valid-subset", "valid,valid1", "--batch-size", 5]
        line += ["--num-workers", 0, *options]
        return self.run_command("fairseq-validate", *line).stdout


@pytest.fixture(scope="module")
def mnli(run_command, tmp_path_factory):
    """Three textual labels and two dev sets, as MNLI."""
    return Trained(run_command, tmp_path_factory.mktemp("mnli"), label_of, 3, "mcc", epochs=8)


@pytest.fixture(scope="module")
def stsb(run_command, tmp_path_factory):
    """Real-valued targets, as STS-B."""

    def share_of_a(words):
        return str(5 * words.count("a") / len(words))

    folder = tmp_path_factory.mktemp("stsb")
    return Trained(run_command, folder, share_of_a, 1, "spearman", "--regression-target")


@pytest.mark.parametrize("subset", ["valid", "valid1"])
def test_two_dev_sets_have_their_own_scores(mnli, subset):
    passes = logged(mnli.log, subset)
    assert len(passes) == 8
    best = max(range(8), key=lambda epoch: (logged(mnli.log, "valid")[epoch]["mcc"], epoch))
    scores = classification_scores(*predict_one_by_one(mnli.best, subset))
    assert scores["mcc"] > 0.1
    assert_shown(passes[best], scores)


def test_best_checkpoint_is_chosen_at_full_precision(mnli):
    scores = classification_scores(*predict_one_by_one(mnli.best, "valid"))
    assert best_score_of(mnli.best) == scores["mcc"]
    assert scores["mcc"] != round(scores["mcc"], 6)


def test_two_workers_count_each_sentence_once(mnli):
    output = mnli.validate_with_two_workers()
    for subset in ("valid", "valid1"):
        (entries,) = logged(output, subset)
        assert_shown(entries, classification_scores(*predict_one_by_one(mnli.best, subset)))


def test_fairseq_validate(mnli):
    output = mnli.fairseq_validate("--log-format", "json", "--log-interval", 1)
    for subset in ("valid", "valid1"):
        scores = classification_scores(*predict_one_by_one(mnli.best, subset))
        assert_shown(logged(output, subset)[-1], scores)
    assert "5 sentences" in output  # in place of a batch's predictions


def test_regression(stsb):
    scores = regression_scores(*predict_one_by_one(stsb.best, "valid"))
    # Other batches change the last bits of a prediction, but not the ranks.
    assert best_score_of(stsb.best) == scores["spearman"]
    passes = logged(stsb.log, "valid")
    assert_shown(max(passes, key=lambda entries: entries["spearman"]), scores)


def test_regression_with_two_workers(stsb):
    output = stsb.validate_with_two_workers()
    for subset in ("valid", "valid1"):
        (entries,) = logged(output, subset)
        assert_shown(entries, regression_scores(*predict_one_by_one(stsb.best, subset)))


def test_binary_f1_of_textual_labels(run_command, tmp_path):
    """QNLI's labels; the positive one is the rarer, hence the second of the dictionary."""

    def label(words):
        return "entailment" if label_of(words) == "entailment" else "not_entailment"

    trained = Trained(run_command, tmp_path, label, 2, "f1", epochs=6)
    predictions, targets = predict_one_by_one(trained.best, "valid")
    f1 = sklearn.metrics.f1_score(targets, predictions, pos_label="entailment")
    accuracy = sklearn.metrics.accuracy_score(targets, predictions)
    assert f1 > 0
    assert best_score_of(trained.best) == f1
    best = max(logged(trained.log, "valid"), key=lambda entries: entries["f1"])
    assert_shown(best, {"f1": f1, "acc_and_f1": (accuracy + f1) / 2, "accuracy": 100 * accuracy})


def test_resume_goes_on_from_the_best_score(mnli, run_command, tmp_path):
    """The checkpoint's meters load, and `best_mcc` is not forgotten."""
    checkpoints = shutil.copytree(mnli.best.parent, tmp_path / "checkpoints")
    line = [*mnli.line, "--max-epoch", 9, "--save-dir", checkpoints]
    best = best_score_of(mnli.best)
    output = run_command("fairseq-train", *line).stdout
    (entries,) = logged(output, "valid")
    assert entries["best_mcc"] == pytest.approx(max(best, entries["mcc"]), rel=1e-5)
