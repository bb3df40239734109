"""Damaged data: one line before they are loaded, or every number in them has its word and label."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fairseq.data import Dictionary, data_utils
from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder

from tupe_plugin.compat.before_training import CHECKS_OF_FILES
from tupe_plugin.compat.refused_job import RefusedJobError

SPLITS = ("train", "valid")
WORDS = 60


@pytest.fixture
def data(tmp_path: Path) -> Path:
    draw = random.Random(0)
    for part, first, last in (("input0", 4, WORDS + 3), ("input1", 4, WORDS + 3), ("label", 4, 5)):
        folder = tmp_path / "data" / part
        folder.mkdir(parents=True)
        (folder / "dict.txt").write_text("".join(f"w{n} 9\n" for n in range(last - 3)))
        for split in SPLITS:
            builder = MMapIndexedDatasetBuilder(str(folder / f"{split}.bin"))
            for row in range(40):
                length = 1 if part == "label" else 2 + row % 5
                words = [draw.randint(first, last) for _ in range(length)]
                builder.add_item(torch.tensor([*words, 2]))
            builder.finalize(str(folder / f"{split}.idx"))
    return tmp_path / "data"


def job(data: Path) -> Any:
    return SimpleNamespace(
        task=SimpleNamespace(
            _name="sentence_prediction", data=str(data), regression_target=False, num_classes=2
        ),
        dataset=SimpleNamespace(
            train_subset="train",
            valid_subset="valid",
            combine_valid_subsets=None,
            disable_validation=False,
        ),
    )


def refusal(data: Path) -> str:
    """Empty if the checks let the data pass, and each number in it stands for something."""
    try:
        for check in CHECKS_OF_FILES:
            check(job(data))
    except RefusedJobError as error:
        return str(error)
    words, labels = (Dictionary.load(str(data / part / "dict.txt")) for part in ("input0", "label"))
    for part, limit in (("input0", len(words)), ("input1", len(words)), ("label", len(labels))):
        for split in SPLITS:
            rows = data_utils.load_indexed_dataset(str(data / part / split), None)
            if rows is None:
                assert part == "input1"
                continue
            assert len(rows) == 40
            assert all(0 <= number < limit for row in rows for number in row.tolist())
    return ""


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite(path: Path) -> None:
    path.write_bytes(b"\x7f" * path.stat().st_size)


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("input0/train.idx", cut, "input0/train.idx is cut off or damaged: it should have 40 rows"),
        ("input0/valid.bin", cut, "input0/valid.bin has "),
        ("input0/train.bin", overwrite, "and the dictionary 64 words"),
        ("input0/train.bin", Path.unlink, "--train-subset train: no "),
        ("input0/dict.txt", cut, "and the dictionary 3"),
        ("input0/dict.txt", overwrite, "input0/dict.txt is no dictionary, or it is damaged"),
        ("input1/valid.idx", cut, "input1/valid.idx is cut off"),
        ("label/train.bin", cut, "label/train.bin has "),
        ("label/valid.idx", overwrite, "label/valid.idx is damaged"),
        ("label/valid.bin", Path.unlink, "label/valid.bin; "),
        ("input1/valid.bin", Path.unlink, "input1/valid.bin; "),
        ("label/train.bin", overwrite, "is not in "),
    ],
)
def test_the_damaged_file_is_named(data: Path, name: str, spoil: Any, message: str) -> None:
    assert refusal(data) == ""
    spoil(data / name)
    line = refusal(data)
    assert message in line
    assert "\n" not in line


def test_bytes_changed_at_random(data: Path, tmp_path: Path) -> None:
    found = 0
    for seed in range(150):
        draw = random.Random(seed)
        copy = shutil.copytree(data, tmp_path / "copy")
        path = draw.choice(sorted(copy.rglob("*.*")))
        content = bytearray(path.read_bytes())
        for _ in range(draw.randint(1, 4)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content[: draw.choice((len(content), draw.randrange(len(content))))])
        line = refusal(copy)
        found += bool(line)
        assert "\n" not in line
        shutil.rmtree(copy)
    assert found > 75
