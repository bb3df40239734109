"""A corpus cleaned by jobs of Slurm or Ray: the same bytes, also where one of them is killed."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.preprocess.slurm_stand_in import write_commands
from tests.preprocess.test_scripts import digests
from tupe_plugin.commands import main as tupe
from tupe_plugin.data.cluster.slurm_jobs import queued_jobs
from tupe_plugin.data.parts import parts_of

WORKERS = {"slurm": "submitit.core._submit", "ray": "ray::"}
"""What the command line of a worker has in it."""


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files and a large one, with documents that are in several of them, or nearly so."""
    folder = tmp_path_factory.mktemp("corpus") / "books"
    folder.mkdir()
    rng = random.Random(3)
    words = ["".join(rng.choices(["ba", "ko", "ti", "lu", "me"], k=3)) for _ in range(200)]
    documents = [
        "".join(" ".join(rng.choices(words, k=12)).capitalize() + ".\n" for _ in range(5))
        for _ in range(900)
    ]
    documents += [text.replace(text.split()[1], "other", 1) for text in documents[:200]]
    for name, number in (("a", 40), ("b", 60), ("large", 3000), ("z", 50)):
        (folder / f"{name}.txt").write_text("\n".join(rng.choices(documents, k=number)), "utf-8")
    return folder


def command(books: Path, out: Path, *more: str) -> list[str]:
    options = ("--bpe-merges", "50", "--near-duplicates", "0.6")
    return ["data", "corpus", str(books), str(out), *options, *more]


DRIVER = """
from tupe_plugin.commands import main
from tupe_plugin.data.cluster import slurm_jobs
slurm_jobs.SECONDS_BETWEEN_LOOKS = 0.2
raise SystemExit(main())
"""


def kill_a_worker(of: Path, named: str) -> str:
    """SIGKILL for a process that cleans a part below the folder; the path of its text."""
    until = time.monotonic() + 300
    while time.monotonic() < until:
        for process in psutil.process_iter():
            try:
                if any(named in word for word in process.cmdline()):
                    for file in process.open_files():
                        if file.path.startswith(str(of / "work" / "clean-part")):
                            process.send_signal(signal.SIGKILL)
                            return file.path
            except psutil.Error:
                continue
    raise AssertionError("no worker was seen")


@pytest.mark.slow
def test_jobs_of_which_one_is_killed_give_the_bytes_of_one_process(
    books: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    write_commands(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert tupe(command(books, tmp_path / "local", "--workers", "1")) == 0
    whole = digests(tmp_path / "local" / "data-bin")
    for executor, named in WORKERS.items():
        out = tmp_path / executor
        words = command(books, out, "--executor", executor, "--parts", "5", "--workers", "2")
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, *words], stderr=subprocess.PIPE, text=True
        )
        killed = kill_a_worker(out, named)
        told = driver.communicate(timeout=600)[1]
        assert driver.returncode == 0, told
        assert killed.endswith(".part/text")
        assert "done, 7 of 7" in told
        assert digests(out / "data-bin") == whole
    counts = json.loads((out / "data-bin" / "manifest.json").read_text("utf-8"))["steps"]
    assert counts["text"]["documents dropped"] > 2000  # of parts that never met
    assert counts["distinct"]["documents dropped"] > 100
    capfd.readouterr()
    assert tupe([*words]) == 0
    assert "7 parts, 7 of them done before" in capfd.readouterr().err
    asked = (tmp_path / "sbatch.1").read_text("utf-8")
    assert re.findall("#SBATCH --(array|cpus-per-task|time)=(.*)", asked) == [
        *(("array", "0-6%7"), ("cpus-per-task", "1"), ("time", "240")),
    ]


def test_a_queue_that_cannot_be_asked_says_nothing_of_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not lost: the next look may be answered."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert queued_jobs() is None
    write_commands(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.defpath}")
    assert queued_jobs() == set()


def test_parts_have_every_document_once(books: Path) -> None:
    files = sorted(books.iterdir())
    for number in (1, 3, 5, 100):
        groups = parts_of(files, number=number)
        assert [file for group in groups for file in group[0].files] == files
        for group in groups:
            assert [str(part.shard) for part in group] == [
                f"{n}/{len(group)}" for n in range(1, len(group) + 1)
            ]
        assert len({part.name for group in groups for part in group}) == sum(map(len, groups))
    assert len(parts_of(files, number=1)) == 1
    assert [len(group) for group in parts_of(files, number=5)] == [1, 5, 1]


@pytest.mark.parametrize(
    ("executor", "hidden", "message"),
    [
        ("slurm", "submitit", "has no submitit, which --executor slurm needs: pip install"),
        ("ray", "ray", "which --executor ray needs: pip install 'tupe-plugin[cluster]'"),
        ("slurm", "", "no srun on this machine; run the command where jobs are submitted"),
    ],
)
def test_an_engine_that_is_not_there_is_said_in_one_line(
    books: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    executor: str,
    hidden: str,
    message: str,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, hidden, None)
    assert tupe(command(books, tmp_path / "out", "--executor", executor)) == 1
    told = capfd.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()
