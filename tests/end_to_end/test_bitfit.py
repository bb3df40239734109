"""BitFit in real jobs: what stays, what is logged, restarts, precisions, workers, deltas."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from tupe_plugin.core.bitfit import parse_roles
from tupe_plugin.core.encoder_view import names_of

from .test_data_parallel import TWO_WORKERS, assert_same_parameters
from .training_jobs import (
    NO_DROPOUT,
    differences,
    fine_tuning,
    load_checkpoint,
    logged,
    training_state,
)

pytestmark = pytest.mark.slow

ENCODER = "encoder.sentence_encoder."
DRIFT = "bias_drift_"
EPOCHS = ("--max-epoch", 2, "--no-epoch-checkpoints")


def job(corpus, pretrained, save_dir: Path, terms: str, *options: object) -> list[str]:
    """Two epochs of 38 batches from the pre-trained model; Adam has a weight decay of 0.01."""
    base = pretrained.checkpoints / "checkpoint_best.pt"
    chosen = ("--finetune-from-model", base, "--criterion", "bitfit", "--bitfit-terms", terms)
    return fine_tuning(corpus.classification, save_dir, *chosen, *EPOCHS, *options)


def with_mfac(arguments: list[str]) -> list[str]:
    start = arguments.index("--adam-eps")
    made = [*arguments[:start], *arguments[start + 2 :]]
    made[made.index("adam")] = "mfac"
    return [*made, "--mfac-num-grads", "13", "--mfac-damping", "1e-3", "--lr", "0.002"]


def assert_only_terms_moved(base: Path, tuned: Path, terms: str, dtype: torch.dtype) -> None:
    """Bit for bit: the frozen thirds of a packed bias too, in the precision of the training."""
    before, after = (load_checkpoint(path)["model"] for path in (base, tuned))
    before = {key: value.to(dtype).float() for key, value in before.items()}
    encoder = {key.removeprefix(ENCODER): key for key in before if key.startswith(ENCODER)}
    moved = {}
    for term in names_of(encoder).biases:
        key = ENCODER + term.key
        vectors = [term.of({term.key: state[key]}) for state in (before, after)]
        if term.role not in parse_roles(terms):
            assert torch.equal(*vectors), term
        elif term.role != "key":  # whose gradient is rounding error
            assert not torch.equal(*vectors), term
        moved[key] = True
    for key in before.keys() - moved.keys():
        assert torch.equal(before[key], after[key]), key
    assert {key for key in after if key not in before} == {
        f"classification_heads.sentence_classification_head.{layer}.{kind}"
        for layer in ("dense", "out_proj")
        for kind in ("weight", "bias")
    }


def drifts(output: str) -> list[dict[str, float]]:
    return [
        {name: value for name, value in entry.items() if name.startswith(DRIFT)}
        for entry in logged(output, "valid")
    ]


@pytest.fixture(scope="module")
def whole(corpus, pretrained, tmp_path_factory, run_command):
    """An uninterrupted run of two epochs over all bias terms."""
    folder = tmp_path_factory.mktemp("bitfit")
    return folder, run_command("fairseq-train", *job(corpus, pretrained, folder, "all"))


def test_leaves_the_rest_alone(whole, pretrained):
    """Whether it learns is for real data to show: these features are of 16 updates."""
    folder, finished = whole
    base = pretrained.checkpoints / "checkpoint_best.pt"
    tuned = folder / "checkpoint_last.pt"
    assert_only_terms_moved(base, tuned, "all", torch.float32)
    (line,) = re.findall(r"bitfit: .*", finished.stdout)
    numbers = re.search(r"([\d,]+) of ([\d,]+) parameters", line)
    biases, of = (int(number.replace(",", "")) for number in numbers.groups())
    assert biases == 2 * (4 * 16 + 32 + 16 + 2 * 16)
    trained = biases + 16 * 16 + 16 + 2 * 16 + 2
    assert f"(num. trained: {trained:,})" in finished.stdout
    checkpoint = load_checkpoint(tuned)
    state = checkpoint["last_optimizer_state"]["state"].values()
    assert sum(entry["exp_avg"].numel() for entry in state) == trained
    model = load_checkpoint(base)["model"]
    del model["encoder.lm_head.weight"]  # the token embedding
    assert of == sum(value.numel() for value in model.values())


def test_drift_in_the_log_is_that_of_the_checkpoints(whole, pretrained, tmp_path, run_command):
    folder, finished = whole
    first, last = drifts(finished.stdout)
    assert len(last) == 2 * 7
    assert all(first[name] != value for name, value in last.items() if not name.endswith("_key"))
    paths = (pretrained.checkpoints / "checkpoint_best.pt", folder / "checkpoint_last.pt")
    before, after = (load_checkpoint(path)["model"] for path in paths)
    name = f"{ENCODER}layers.1.fc1.bias"
    expected = (before[name] - after[name]).abs().mean().item()
    assert last[f"{DRIFT}1_intermediate"] == pytest.approx(expected, rel=1e-4)
    log = tmp_path / "train.log"
    log.write_text(finished.stdout)
    for sources in ((log,), paths):
        run_command("tupe", "plot", "bitfit-drift", *sources, "-o", tmp_path / "drift.png")


def test_resumed_run_measures_from_the_same_start(whole, corpus, pretrained, tmp_path, run_command):
    """Stopped in the second epoch: the start comes from the checkpoint."""
    command = job(corpus, pretrained, tmp_path, "all", "--total-num-update", 76)
    stopped = run_command("fairseq-train", *command, "--max-update", 50)
    resumed = run_command("fairseq-train", *command)
    assert drifts(stopped.stdout)[0] == drifts(whole[1].stdout)[0]
    assert drifts(resumed.stdout)[-1] == drifts(whole[1].stdout)[-1]
    ours, theirs = (load_checkpoint(path / "checkpoint_last.pt") for path in (tmp_path, whole[0]))
    for part in ("model", "optimizer"):
        states = (training_state(ours)[part], training_state(theirs)[part])
        assert list(differences(*states)) == []


@pytest.mark.parametrize(
    ("flags", "terms", "dtype"),
    [
        (("--fp16", "--fp16-init-scale", 128), "query,output", torch.float16),
        (("--fp16", "--fp16-init-scale", 128, "mfac"), "key,value", torch.float16),
        (("--bf16",), "all", torch.bfloat16),
        (("mfac",), "query,output", torch.float32),
    ],
    ids=str,
)
def test_precisions_optimizers_and_deltas(
    flags, terms, dtype, corpus, pretrained, tmp_path, run_command
):
    base, tuned = pretrained.checkpoints / "checkpoint_best.pt", tmp_path / "checkpoint_last.pt"
    options = [flag for flag in flags if flag != "mfac"]
    command = job(corpus, pretrained, tmp_path, terms, *options)
    finished = run_command("fairseq-train", *(with_mfac(command) if "mfac" in flags else command))
    assert_only_terms_moved(base, tuned, terms, dtype)
    delta, again = tmp_path / "delta.safetensors", tmp_path / "again.pt"
    run_command("tupe", "delta", "save", base, tuned, "-o", delta)
    run_command("tupe", "delta", "apply", base, delta, "-o", again)
    models = [dict(load_checkpoint(path)["model"]) for path in (again, tuned)]
    assert list(differences(*models)) == []
    if terms == "all":
        validate = ("fairseq-validate", corpus.classification, "--user-dir", "tupe_plugin")
        task = ("--task", "sentence_prediction", "--criterion", "bitfit", "--num-classes", 2)
        options = ("--init-token", 0, "--separator-token", 2, "--batch-size", 8)
        checked = run_command(*validate, "--path", again, *task, *options)
        accuracy = re.findall(r"\| accuracy ([\d.]+)", checked.stdout)[-1]
        expected = logged(finished.stdout, "valid")[-1]["accuracy"]
        assert float(accuracy) == pytest.approx(expected, abs=2)  # validated in float32


def test_two_workers_equal_one_and_need_no_flag(corpus, pretrained, tmp_path, run_command):
    """What fine-tuning leaves unused is frozen: no --find-unused-parameters."""
    one, two = tmp_path / "one", tmp_path / "two"
    options = (*NO_DROPOUT, "--max-epoch", 1)
    alone = job(corpus, pretrained, one, "query,output", *options, "--update-freq", 2)
    gloo = ("--distributed-backend", "gloo", "--ddp-backend", "c10d")
    both = job(corpus, pretrained, two, "query,output", *options, *gloo)
    outputs = [run_command("fairseq-train", *alone), run_command(*TWO_WORKERS, *both)]
    assert_same_parameters(one, two)
    expected, found = (drifts(finished.stdout)[-1] for finished in outputs)
    assert found == pytest.approx(expected, rel=1e-3)
    assert len(re.findall(r"bitfit: .*", outputs[1].stdout)) == 1


def test_any_criterion_trains_the_terms(corpus, pretrained, tmp_path, run_command):
    command = job(corpus, pretrained, tmp_path, "intermediate", "--max-update", 5)
    plain = [*command, "--criterion", "sentence_prediction"]
    run_command("fairseq-train", *plain)
    base = pretrained.checkpoints / "checkpoint_best.pt"
    tuned = tmp_path / "checkpoint_last.pt"
    assert_only_terms_moved(base, tuned, "intermediate", torch.float32)
