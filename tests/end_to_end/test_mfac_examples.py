"""M-FAC without fairseq: the plain loop, and Hugging Face's Trainer with its checkpoints."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.conftest import ROOT
from tests.end_to_end.training_jobs import differences

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "examples" / "mfac"


def example(name: str) -> ModuleType:
    """`examples/mfac/<name>.py` as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def trainer() -> ModuleType:
    pytest.importorskip("transformers", reason="the extra `examples` is not installed")
    pytest.importorskip("accelerate", reason="the extra `examples` is not installed")
    return example("huggingface_trainer")


class TestPlainLoop:
    def test_keeps_its_promise_without_fairseq(self) -> None:
        """Its promise, in a process that could not import fairseq."""
        program = (
            "import runpy, sys; sys.modules['fairseq'] = None; sys.argv[1:] = ['--epochs', '30'];"
            f"runpy.run_path({str(EXAMPLES / 'plain_pytorch.py')!r}, run_name='__main__')"
        )
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == 30
        assert float(lines[-1].split()[-1].rstrip("%")) >= 99

    def test_stopped_and_started_again(self, tmp_path: Path) -> None:
        plain = example("plain_pytorch")
        whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
        plain.main(["--epochs", "3", "--checkpoint", str(whole)])
        plain.main(["--epochs", "3", "--checkpoint", str(parts), "--stop-after", "1"])
        assert torch.load(parts, weights_only=True)["epoch"] == 1
        plain.main(["--epochs", "3", "--checkpoint", str(parts)])
        ours, theirs = (torch.load(path, weights_only=True) for path in (parts, whole))
        assert ours["optimizer"]["fisher_window"]["num_pushed"] == 3 * 32
        assert list(differences(ours, theirs)) == []


class TestTrainer:
    def test_keeps_its_promise_and_goes_on_from_a_checkpoint(
        self, trainer: ModuleType, tmp_path: Path
    ) -> None:
        """640 sentences, 20 updates an epoch; killed, as it were, after the fourth of five."""
        whole, parts = tmp_path / "whole", tmp_path / "parts"
        assert trainer.main([str(whole)]) >= 0.95
        assert sorted(path.name for path in whole.iterdir()) == ["checkpoint-100", "checkpoint-80"]
        shutil.copytree(whole / "checkpoint-80", parts / "checkpoint-80")
        saved = torch.load(parts / "checkpoint-80" / "optimizer.pt", weights_only=True)
        window = saved["fisher_window"]
        assert window["num_pushed"] == 80
        assert sum(len(block) for block in window["rows"]) == 80

        trainer.main([str(parts), "--resume"])
        for name in ("optimizer.pt", "scheduler.pt"):
            ours, theirs = (
                torch.load(folder / "checkpoint-100" / name, weights_only=True)
                for folder in (parts, whole)
            )
            assert list(differences(ours, theirs)) == []
        weights = [
            (f / "checkpoint-100" / "model.safetensors").read_bytes() for f in (parts, whole)
        ]
        assert weights[0] == weights[1]

    def test_a_users_model_and_data(
        self, trainer: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A model in a folder, pairs of sentences in columns of any order, three labels."""
        examples = trainer.animals_or_tools(60, seed=3)
        rows = [
            f"{number}\t{labels}\t{text}\t{text} the\n"
            for number, (((text,), label), other) in enumerate(
                zip(examples, ["x", "y"] * 30, strict=True)
            )
            for labels in [label if other == "x" else "neither"]
        ]
        for name, part in (("train", rows[:48]), ("dev", rows[48:])):
            lines = ["id\tlabel\tsentence1\tsentence2\n", *part]
            (tmp_path / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
        train = trainer.read_tsv(tmp_path / "train.tsv")
        assert len(train) == 48
        assert train[0][0] == [examples[0][0][0], examples[0][0][0] + " the"]

        model, tokenizer = trainer.build_model(None, train, ["animal", "neither", "tool"])
        model.save_pretrained(tmp_path / "model")
        tokenizer.save_pretrained(tmp_path / "model")
        data = ["--train", str(tmp_path / "train.tsv"), "--dev", str(tmp_path / "dev.tsv")]
        options = ["--epochs", "1", "--num-grads", "3", "--window-dtype", "bfloat16"]
        trainer.main([str(tmp_path / "out"), "--model", str(tmp_path / "model"), *data, *options])
        assert "accuracy on dev" in capsys.readouterr().out
        (checkpoint,) = (tmp_path / "out").iterdir()
        window = torch.load(checkpoint / "optimizer.pt", weights_only=True)["fisher_window"]
        assert (window["num_grads"], window["num_pushed"], window["dtype"]) == (3, 2, "bfloat16")
        assert window["damping"] == 1e-6  # the published one, with a model of the user's

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("sentence\tgold\nwords\tyes\n", "needs a column 'label'"),
            ("sentence\tlabel\n", "no examples"),
            ("sentence\tlabel\nwords\n", "too few columns"),
        ],
    )
    def test_tables_that_cannot_be_used(
        self, text: str, message: str, trainer: ModuleType, tmp_path: Path
    ) -> None:
        path = tmp_path / "table.tsv"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SystemExit, match=message):
            trainer.read_tsv(path)
