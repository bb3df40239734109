"""fairseq's own RoBERTa with the strategies of this plug-in, by real command lines."""

from __future__ import annotations

import shutil

import pytest
import torch
from fairseq.models.roberta import RobertaModel

from tupe_plugin import commands
from tupe_plugin.checkpoint.read import load
from tupe_plugin.commands.plot_bitfit_drift import compare_checkpoints, read_drift
from tupe_plugin.core.views.fairseq_transformer import FAIRSEQ_TRANSFORMER

from . import training_jobs
from .training_jobs import differences, logged, training_state

FP16 = ("--fp16", "--fp16-no-flatten-grads", "--fp16-init-scale", 4)
MFAC = ("--optimizer", "mfac", "--mfac-num-grads", 13, "--mfac-damping", 1e-3, "--lr", 0.002)
ALL_BIASES = ("--bitfit-terms", "all")
NOISE = ("--criterion", "adversarial", "--adv-method")


def job(command: list[str], *options: object) -> list[str]:
    """A small job of these tests, with RoBERTa in the place of TUPE-R."""
    made = [word for word in command if word != "--rel-pos"]
    made[made.index("tupe_tiny")] = "roberta"
    if "mfac" in options:
        adam = made.index("--adam-eps")
        del made[adam : adam + 2]
    return [*made, *map(str, options)]


@pytest.fixture(scope="module")
def pretrained_roberta(corpus, tmp_path_factory, run_command):
    """With noise in the attention of a pre-training, and M-FAC."""
    folder = tmp_path_factory.mktemp("roberta")
    command = training_jobs.pretraining(corpus.pretraining, folder, "--max-update", 4)
    noise = (*NOISE, "attention", "--adv-epsilon", 3, "--adv-warmup-updates", 3)
    output = run_command("fairseq-train", *job(command, *noise, *MFAC)).stdout
    first, *others = logged(output, "train_inner")
    assert first["adversarial_loss"] == 0  # the noise grows from 0
    assert all(step["adversarial_loss"] > 0 for step in others)
    return folder / "checkpoint_last.pt"


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ("--criterion", "bitfit", "--bitfit-terms", "query,intermediate", "--layer-decay", 0.8),
        (*ALL_BIASES, *NOISE, "freelb", "--adv-warmup-updates", 5, "--rdrop-alpha", 0.5, "--bf16"),
        (*NOISE, "attention", "--adv-site", "logits", "--layer-decay", 0.8, *FP16),
        ("--criterion", "rdrop", *MFAC, "--layer-decay", 0.9, "--amp"),
    ],
    ids=["bitfit", "freelb", "logits", "rdrop"],
)
def test_strategies_train_and_resume(corpus, pretrained_roberta, tmp_path, run_command, options):
    """6 updates are 3, a stop, and 3 more, bit for bit; what BitFit freezes stays as it was."""
    states = []
    for folder in (tmp_path / "whole", tmp_path / "resumed"):
        command = training_jobs.fine_tuning(
            corpus.classification,
            folder,
            *("--restore-file", pretrained_roberta, "--max-update", 6, "--update-freq", 2),
            *("--reset-optimizer", "--reset-dataloader", "--reset-meters"),
            *("--reset-lr-scheduler", "--no-epoch-checkpoints", "--save-interval-updates", 3),
        )
        if states:
            folder.mkdir()
            shutil.copy(tmp_path / "whole" / "checkpoint_1_3.pt", folder / "checkpoint_last.pt")
        run_command("fairseq-train", *job(command, *options))
        states.append(training_state(load(folder / "checkpoint_last.pt")))
        for key in list(states[-1]["model"]):
            if key.rpartition(".")[2] in FAIRSEQ_TRANSFORMER.unused:
                del states[-1]["model"][key]  # made anew when a checkpoint is loaded
    assert list(differences(*states)) == []
    if "--bitfit-terms" not in options:
        return
    before = load(pretrained_roberta)["model"]
    moved = {
        key
        for key, value in states[0]["model"].items()
        if key in before and not torch.allclose(value, before[key], rtol=1e-2, atol=1e-5)
    }
    assert moved
    assert all(key.endswith("bias") for key in moved), moved


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--encoder-layers", 1), "it was written with --encoder-layers 2 (here 1)"),
        (("--encoder-attention-heads", 1), "heads 2 (here 1): give --encoder-attention-heads 2"),
    ],
    ids=str,
)
def test_other_settings_are_named(corpus, pretrained_roberta, tmp_path, last_line, option, message):
    start = ("--restore-file", pretrained_roberta, "--max-epoch", 1)
    command = training_jobs.fine_tuning(corpus.classification, tmp_path, *start)
    line = last_line(job(command, *option))
    assert "does not fit this model: " in line
    assert line.endswith(message)


@pytest.mark.slow
def test_commands_take_its_checkpoints(corpus, pretrained_roberta, tmp_path, run_command, capsys):
    command = training_jobs.fine_tuning(
        corpus.classification,
        tmp_path / "T",
        *("--restore-file", pretrained_roberta, "--max-update", 6, "--lr", 0.02),
        *("--reset-optimizer", "--reset-dataloader", "--reset-meters", "--reset-lr-scheduler"),
        *("--no-epoch-checkpoints", "--save-interval-updates", 3, "--fp16-init-scale", 4),
    )
    options = ("--criterion", "bitfit", "--bitfit-terms", "query,output,layer_norm", "--fp16")
    log = tmp_path / "train.log"
    log.write_text(run_command("fairseq-train", *job(command, *options)).stdout)
    early, tuned = (tmp_path / "T" / f"checkpoint_{name}.pt" for name in ("1_3", "last"))

    def tupe(*words: object, status: int = 0) -> str:
        assert commands.main(list(map(str, words))) == status
        return capsys.readouterr().err

    delta, again, mean = (tmp_path / name for name in ("d.safetensors", "again.pt", "mean.pt"))
    tupe("delta", "save", pretrained_roberta, tuned, "-o", delta)
    tupe("delta", "apply", pretrained_roberta, delta, "-o", again)
    tupe("delta", "info", delta)
    on_data = ("--data", corpus.classification, "--cpu")
    for model, folder in ((tuned, "ours"), (again, "theirs")):
        tupe("predict", f"T={model}", "-o", tmp_path / folder, *on_data)
    tables = [tmp_path / folder / "T" / "valid.tsv" for folder in ("ours", "theirs")]
    assert tables[0].read_text() == tables[1].read_text()

    greedy = ("--greedy", corpus.classification, "--metric", "accuracy", "--cpu")
    tupe("average", again, early, "-o", mean, *greedy)
    tupe("average", tuned, early, "-o", mean)
    states = [load(path)["model"] for path in (tuned, early)]
    averaged = load(mean)["model"]
    for name, value in averaged.items():
        assert torch.equal(value, ((states[0][name].double() + states[1][name]) / 2).float()), name
    for path in (again, mean):
        where = (str(path.parent), path.name, str(corpus.classification))
        hub = RobertaModel.from_pretrained(*where, bpe=None)
        assert hub.model.state_dict().keys() == states[0].keys()

    picture = ("-o", tmp_path / "a.png")
    tupe("plot", "bitfit-drift", log, *picture)
    tupe("plot", "bitfit-drift", pretrained_roberta, tuned, *picture)
    drift, seen = read_drift(log)[0], compare_checkpoints(pretrained_roberta, tuned)
    assert drift == pytest.approx({cell: seen[cell] for cell in drift}, rel=1e-3, abs=1e-5)
    tupe("plot", "learning-curve", log, *picture)
    (line,) = tupe("plot", "positions", tuned, *picture, status=1).splitlines()
    assert "--arch roberta has no term of positions in the attention logits" in line
