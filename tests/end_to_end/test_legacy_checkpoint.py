"""A checkpoint in the form in which the TUPE authors saved theirs (2021, a fork of fairseq 0.9).

It holds a pickled ``argparse.Namespace`` of an architecture that is another model in fairseq 0.12,
packed projections, and a vocabulary with three special symbols more than fairseq's.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import REFERENCE_DATA
from tests.reference_files import read

from .training_jobs import USER_DIR, load_checkpoint, logged

pytestmark = pytest.mark.slow

THREE_MORE_SYMBOLS = "<file> 1\n<email> 1\n<url> 1\n"  # ids 4, 5, 6 of the authors' vocabulary
SIZES_OF_THE_CHECKPOINT = (
    *("--arch", "tupe_tiny", "--encoder-layers", 2, "--encoder-embed-dim", 24),
    *("--encoder-ffn-embed-dim", 48, "--encoder-attention-heads", 3, "--max-positions", 40),
    *("--rel-pos", "--embedding-normalize"),
)
FLOAT32 = 1e-5


WORDS = "".join(f"w{i} 1\n" for i in range(92))  # the rest of the checkpoint's dictionary


@pytest.fixture(scope="module")
def legacy(legacy_checkpoint: Path) -> Path:
    return legacy_checkpoint


@pytest.fixture(scope="module")
def expected() -> dict[str, torch.Tensor]:
    return read(REFERENCE_DATA / "legacy_checkpoint_expected.safetensors")


@pytest.fixture(scope="module")
def make_task(run_command: Callable[..., Any]) -> Callable[..., Path]:
    """Binarises a task with the checkpoint's dictionary: is the first word <url>?"""

    def make(folder: Path, *, first_lines: str = THREE_MORE_SYMBOLS) -> Path:
        (folder / "dict.txt").write_text(first_lines + WORDS)
        draw = random.Random(1)
        for split, count in (("train", 96), ("valid", 16)):
            sentences = ""
            labels = [str(draw.randrange(2)) for _ in range(count)]
            for label in labels:
                sentence = [f"w{draw.randrange(92)}" for _ in range(draw.randrange(3, 9))]
                if label == "1":
                    sentence[0] = "<url>"
                sentences += " ".join(sentence) + "\n"
            (folder / f"{split}.input0").write_text(sentences)
            (folder / f"{split}.label").write_text("\n".join(labels) + "\n")
        for part, dictionary in (("input0", ["--srcdict", folder / "dict.txt"]), ("label", [])):
            run_command(
                *("fairseq-preprocess", "--only-source", *dictionary),
                *("--trainpref", folder / f"train.{part}"),
                *("--validpref", folder / f"valid.{part}", "--destdir", folder / "bin" / part),
            )
        return folder / "bin"

    return make


@pytest.fixture(scope="module")
def task_bin(make_task: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_task(tmp_path_factory.mktemp("task"))


def fine_tuning(data: Path, checkpoint: Path, save_dir: Path, *options: object) -> list[object]:
    """Arguments of ``fairseq-train``: the authors' command, with a small model's settings."""
    return [
        *(data, "--user-dir", USER_DIR, "--save-dir", save_dir, "--restore-file", checkpoint),
        *("--reset-optimizer", "--reset-dataloader", "--reset-meters", "--reset-lr-scheduler"),
        *("--task", "sentence_prediction", "--criterion", "sentence_prediction"),
        *("--num-classes", 2, "--init-token", 0, "--separator-token", 2),
        *SIZES_OF_THE_CHECKPOINT,
        *("--optimizer", "adam", "--batch-size", 8, "--num-workers", 0, "--seed", 1),
        *("--no-epoch-checkpoints", "--log-format", "json", *options),
    ]


def load_model(checkpoint: Path, overrides: dict[str, Any]) -> Any:
    """By fairseq's own loading path, ready for evaluation."""
    from fairseq import checkpoint_utils

    paths = [str(checkpoint)]
    # The authors' features were recorded at padding, too.
    overrides = {"unpad": "never", **overrides}
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task(paths, overrides)
    symbols = [task.source_dictionary.index(word) for word in ("<url>", "w0", "<mask>")]
    assert symbols == [6, 7, 99]
    return model.eval()


def assert_as_expected(model: Any, expected: dict[str, torch.Tensor]) -> None:
    tokens = expected["src_tokens"]
    with torch.no_grad():
        outputs = {
            "features": model(tokens, features_only=True)[0],
            "lm_logits": model(tokens)[0],
        }
    for name, output in outputs.items():
        error = (output - expected[name]).abs().max() / expected[name].abs().max()
        assert error < FLOAT32, name


def test_it_reproduces_the_authors_outputs(
    legacy: Path, task_bin: Path, expected: dict[str, torch.Tensor]
) -> None:
    overrides = {"arch": "tupe_tiny", "data": str(task_bin / "input0")}
    assert_as_expected(load_model(legacy, overrides), expected)


def test_fine_tuning_starts_from_its_weights(
    legacy: Path,
    task_bin: Path,
    expected: dict[str, torch.Tensor],
    run_command: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """A run of `fairseq-train` with learning rate 0 leaves a checkpoint with the same outputs."""
    run_command(
        "fairseq-train", *fine_tuning(task_bin, legacy, tmp_path, "--lr", 0, "--max-epoch", 1)
    )
    checkpoint = tmp_path / "checkpoint_last.pt"
    assert_as_expected(load_model(checkpoint, {}), expected)
    saved = load_checkpoint(checkpoint)
    assert saved["optimizer_history"][-1]["num_updates"] == 12  # counted anew, from 0
    heads = {key.split(".")[1] for key in saved["model"] if key.startswith("classification_heads.")}
    assert heads == {"sentence_classification_head"}
    assert not any(key.startswith("decoder.") for key in saved["model"])


def test_it_fine_tunes(
    legacy: Path, task_bin: Path, run_command: Callable[..., Any], tmp_path: Path
) -> None:
    options = ("--lr", 2e-3, "--max-epoch", 24)
    done = run_command("fairseq-train", *fine_tuning(task_bin, legacy, tmp_path, *options))
    epochs = logged(done.stdout, "train")
    assert epochs[0]["loss"] > 0.6
    assert epochs[-1]["accuracy"] > 95
    assert logged(done.stdout, "valid")[-1]["accuracy"] > 90


def test_without_the_three_symbols_the_error_names_them(
    legacy: Path, make_task: Callable[..., Path], run_command: Callable[..., Any], tmp_path: Path
) -> None:
    """With the authors' own dict.txt every id would be off by three."""
    data = make_task(tmp_path, first_lines="")
    arguments = fine_tuning(data, legacy, tmp_path / "save", "--lr", 0, "--max-epoch", 1)
    failed = run_command("fairseq-train", *arguments, check=False)
    assert failed.returncode != 0
    assert "the checkpoint has 100 symbols, the model 97" in failed.stdout
    assert "<file>, <email> and <url> as the first three lines of dict.txt" in failed.stdout


def test_fairseq_validate_reads_it(
    legacy: Path, run_command: Callable[..., Any], task_bin: Path
) -> None:
    """Evaluation of the checkpoint itself: only what fairseq cannot know is given."""
    overrides = {"arch": "tupe_tiny", "data": str(task_bin / "input0"), "tokens_per_sample": 40}
    done = run_command(
        *("fairseq-validate", task_bin / "input0", "--user-dir", USER_DIR, "--path", legacy),
        *("--task", "masked_lm", "--criterion", "masked_lm", "--valid-subset", "valid"),
        *("--model-overrides", overrides, "--batch-size", 8, "--log-format", "json"),
    )
    (entry,) = logged(done.stdout, "valid")
    assert 4 < entry["loss"] < 12  # bits; an untrained model of 100 symbols has about 6.6
