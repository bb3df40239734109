"""What the headers of examples/ tell a reader to type: it starts, and fairseq knows every option.

Programs that train are recorded here; whole runs are in the tests of each example.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fairseq import options

from tests.conftest import ROOT

from .example_scripts import SEARCH_PATH, run_script

EXAMPLES = ROOT / "examples"
PROGRAMS = sorted(
    path
    for pattern in ("*.sh", "*.py", "*.sbatch")
    for path in EXAMPLES.rglob(pattern)
    if path.suffix != ".sh" or os.access(path, os.X_OK)  # the others are sourced
)
MORE = "[more fairseq-train options]"
RUN_BY_TESTS = {
    "round_trip.sh": ["test_round_trip.py"],
    "run.sh": ["test_demo.py"],
    "huggingface_trainer.py": ["test_mfac_examples.py"],
    "plain_pytorch.py": ["test_mfac_examples.py"],
    "strategies.py": ["test_huggingface_example.py"],
}
SCRIPTS = [path for path in PROGRAMS if path.suffix == ".sh" and path.name not in RUN_BY_TESTS]
SMALL = {"ARCH": "tupe_tiny", "GPUS_PER_NODE": "16"}
RECORDER = """#!/bin/sh
[ "$*" = user-dir ] && exec echo {user_dir}
[ "${{0##*/}} $1" = "tupe recipe" ] && exec {tupe} "$@"
printf '%s\\n' "${{0##*/}}" "$@" '' >>"$RECORD"
echo ' | valid | '
"""


def header(path: Path) -> str:
    """The comments or the docstring that a file begins with."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        return text.split('"""')[1]
    return "".join(re.findall(r"#.*\n", re.match(r"(#.*\n)+", text)[0]))  # type: ignore[index]


def usage(path: Path, **values: object) -> list[str]:
    """The command after "usage" in a header, with `values` for its words in capitals.

    Raises:
        KeyError: it has a word in capitals without a value.
    """
    (line,) = re.findall(r"^# +usage +(.+)$", header(path), re.MULTILINE)
    words = line.replace(MORE, "MORE").split()
    return [str(values[word]) if word.isupper() else word for word in words]


def recorded(record: Path) -> Iterator[list[str]]:
    """The command lines of the programs that train, without `torchrun` and its options."""
    for call in record.read_text("utf-8").split("\n\n"):
        words = call.splitlines()
        if words and words[0] == "torchrun":
            start = next(at for at, word in enumerate(words) if word.endswith("/fairseq-train"))
            words = ["fairseq-train", *words[start + 1 :]]
        if words and words[0] == "fairseq-train":
            yield words[1:]


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_starts_as_its_header_says(script: Path, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    tupe = Path(sys.executable).parent / "tupe"
    recorder = RECORDER.format(user_dir=ROOT / "tupe_plugin", tupe=tupe)
    for name in ("torchrun", "fairseq-train", "fairseq-validate", "tupe"):
        (programs / name).write_text(recorder)
        (programs / name).chmod(0o755)
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.touch()
    command = usage(
        script,
        TASK="RTE",
        DATA_BIN=tmp_path / "data",
        CHECKPOINT=checkpoint,
        SAVE_DIR=tmp_path / "run",
        MORE="--no-save",
    )
    assert command[0] == str(script.relative_to(ROOT))
    done = run_script(
        *(ROOT / command[0], *command[1:]),
        PATH=f"{programs}{os.pathsep}{SEARCH_PATH}",
        RECORD=str(tmp_path / "record"),
        **SMALL,
    )
    assert done.returncode == 0, done.stderr
    jobs = list(recorded(tmp_path / "record"))
    assert jobs
    for job in jobs:
        args = options.parse_args_and_arch(options.get_training_parser(), job)
        assert args.no_save
        assert "--criterion" in job


def test_what_is_not_a_script_to_type_is_run_by_one_or_by_a_test() -> None:
    """Or its header says that nobody has run it."""
    for path in PROGRAMS:
        if path in SCRIPTS or "Not run by us" in header(path):
            continue
        runners = [other for other in PROGRAMS if other.name in header(path) and other != path]
        runners += [
            ROOT / "tests" / "end_to_end" / name for name in RUN_BY_TESTS.get(path.name, ())
        ]
        assert any(path.stem in runner.read_text("utf-8") for runner in runners), path
