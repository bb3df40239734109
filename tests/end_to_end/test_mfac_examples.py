"""M-FAC without fairseq: the plain loop, and Hugging Face's Trainer with its checkpoints."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.conftest import ROOT
from tests.end_to_end.training_jobs import differences
from tupe_plugin.data.glue_tasks import load_tasks

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
        self,
        trainer: ModuleType,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """The header's second command: a model in a folder, pairs of sentences in GLUE's columns,
        three labels.
        """
        _, second = re.findall(r"^    python \S+ (OUT(?:.*\\\n)*.*)", trainer.__doc__, re.MULTILINE)
        command = shlex.split(second.replace("\\\n", " "), comments=True)
        tables = [command[command.index(option) + 1] for option in ("--train", "--dev")]
        task = load_tasks()[Path(tables[0]).parent.name]
        columns = next(file for file in task.files if file.split == "train")
        examples = trainer.animals_or_tools(60, seed=3)
        rows = [
            f"{number}\t{text}\t{text} the\t{label if number % 2 else 'neither'}\n"
            for number, ((text,), label) in enumerate(examples)
        ]
        monkeypatch.chdir(tmp_path)
        for name, part in zip(tables, (rows[:48], rows[48:]), strict=True):
            header = "\t".join(map(str, ("index", *columns.inputs, columns.label)))
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_text("".join([f"{header}\n", *part]), encoding="utf-8")
        train = trainer.read_tsv(Path(tables[0]))
        assert len(train) == 48
        assert train[0][0] == [examples[0][0][0], examples[0][0][0] + " the"]

        model, tokenizer = trainer.build_model(None, train, ["animal", "neither", "tool"])
        model.save_pretrained(tmp_path / "model")
        tokenizer.save_pretrained(tmp_path / "model")
        options = ["--epochs", "1", "--num-grads", "3", "--window-dtype", "bfloat16"]
        options += ["--parameters", "biases", "--rest-lr", "1e-3"]
        command[command.index("--model") + 1] = "model"
        trainer.main([*command, *options])
        assert "accuracy on dev" in capsys.readouterr().out
        (checkpoint,) = (tmp_path / "OUT").iterdir()
        state = torch.load(checkpoint / "optimizer.pt", weights_only=True)
        window = state["fisher_window"]
        assert list(state["state"]) == window["outside"] != []
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
