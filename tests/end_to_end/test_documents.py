"""Whatever a document tells a reader to type is run, at toy size, or marked as not run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sybil.example import SybilFailure

from tests.conftest import ROOT, RunCommand

from .document_blocks import FILES_AS_WORDS, Command, run_blocks
from .example_scripts import SEARCH_PATH
from .toy_size import GIVEN, GIVEN_TO_PYTHON, PYTHON, sized

DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "preprocess/*.md", "docs/**/*.md")
    for path in ROOT.glob(pattern)
)
MADE = {  # document -> what its commands leave behind
    "README.md": (
        "data/books/data-bin/dict.txt",
        "runs/books/checkpoint_best.pt",
        "runs/cola/checkpoint_best.pt",
        "runs/cola-hydra/checkpoint_best.pt",
        "runs/sweep/CoLA/books/rdrop+layer-decay/lr5e-5/seed1/run.json",
        "runs/de-en/checkpoint_best.pt",
        "drift.png",
        "bitfit.pt",
        "out/CoLA/metrics.json",
        "glue.zip",
        "report.html",
        "positions.html",
    ),
    "docs/huggingface.md": (
        "minilm/dict.txt",
        "cola/model.safetensors",
        "cola/tokenizer.json",
        "cola-again/bpe.codes",
    ),
    "preprocess/README.md": (
        "data/books/data-bin/manifest.json",
        "data/glue/CoLA-bin/label/dict.txt",
        "data/mine/news-bin/input1/dict.txt",
        "data/mine/reviews-bin/label/train.label",
        "data/clue/afqmc-bin/input1/dict.txt",
        "data/clue/iflytek-bin/label/dict.txt",
    ),
}


class Workplace:
    """A checkout with a reader's files beside it; nothing is written into the checkout."""

    def __init__(self, folder: Path, run_command: RunCommand) -> None:
        self.folder = folder
        self._run_command = run_command
        self._names = {"tokens": torch.randint(4, 50, (2, 7))}  # (batch, seq)
        for name in ("preprocess", "examples", "tupe_plugin"):
            (folder / name).symlink_to(ROOT / name)

    def console(self, command: Command) -> None:
        """Run a command, on files that are made when it is the first to name them."""
        for word in command.words:
            name = word.split("/")[0]
            if name in GIVEN and not (self.folder / name).exists():
                GIVEN[name](self.folder / name)
        words = [part for word in command.words for part in self._expanded(word)]
        finished = self._run(*sized(words), **command.environment)
        assert not re.search("without (--)?criterion takes", finished.stdout)  # it is named

    def _expanded(self, word: str) -> list[str]:
        files = FILES_AS_WORDS.fullmatch(word)
        if files is None:
            return [word]
        return [
            part for name in files[1].split() for part in (self.folder / name).read_text().split()
        ]

    def _run(self, program: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        if "/" in program:
            program = str(self.folder / program)
        return self._run_command(program, *arguments, cwd=self.folder, env=env or None)

    def python(self, source: str) -> None:
        """Run a block in Python; it sees what the ones before it have defined, and `tokens`."""
        for ours, toy in PYTHON.items():
            source = source.replace(ours, toy)
        for name, write in GIVEN_TO_PYTHON.items():
            if f'"{name}/' in source and not (self.folder / name).exists():
                write(self.folder / name)
        exec(compile(source, "block", "exec"), self._names)


@pytest.fixture
def workplace(
    tmp_path: Path, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> Workplace:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", SEARCH_PATH)
    monkeypatch.setenv("PYTHON", sys.executable)
    return Workplace(tmp_path, run_command)


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_block_runs_or_says_why_not(document: Path, workplace: Workplace) -> None:
    run_blocks(ROOT / document, console=workplace.console, python=workplace.python)
    missing = [
        name for name in MADE.get(str(document), ()) if not (workplace.folder / name).exists()
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("```bash\nls\n```", SybilFailure, "no test runs blocks of 'bash'"),
        ("```console\nls\n```", ValueError, r"without '\$ '"),
        ("```console\n$ a | b\n```", ValueError, "only a shell could run this line"),
        ("```console\n$ false\n```", AssertionError, "false was run"),
        ("```python\nfalse\n```", AssertionError, "false was run"),
        ("<!-- skip: next -->\n```console\n$ a\n```", AssertionError, "say why"),
    ],
)
def test_a_block_that_is_neither_run_nor_marked_is_an_error(
    text: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    def run(block: object) -> None:
        raise AssertionError(f"{getattr(block, 'words', [block])[0]} was run".replace("\n", ""))

    document = tmp_path / "README.md"
    document.write_text(f"Text.\n\n{text}\n")
    with pytest.raises(error, match=message):
        run_blocks(document, console=run, python=run)


def test_a_marked_block_is_not_run(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text(
        '<!-- skip: next "not run: it installs" -->\n```console\n$ a\n```\n\n'
        "```\noutput\n```\n\n```console\n$ A=1 b 'c d' \\\n    e   # a comment\noutput\n```\n"
    )
    ran: list[Command] = []
    assert run_blocks(document, console=ran.append, python=ran.append) == ["not run: it installs"]
    assert ran == [Command({"A": "1"}, ["b", "c d", "e"])]


def test_make_help_lists_every_target(run_command: RunCommand) -> None:
    listed = run_command("make", "--no-print-directory", "help", cwd=ROOT).stdout
    targets = re.findall(r"^\.PHONY: (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [name for name in targets if not re.search(rf"^  {name} ", listed, re.MULTILINE)] == []
    assert "activate" in listed.splitlines()[-1]
