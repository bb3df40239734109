"""examples/huggingface/round_trip.sh, on a BERT of two layers and a made-up MRPC."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from tests.checkpoint.huggingface_models import WORDS, save_model
from tests.conftest import ROOT
from tests.end_to_end.example_scripts import run_script

SCRIPT = ROOT / "examples" / "huggingface" / "round_trip.sh"
HEADER = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"
ROWS = {"train": 40, "dev": 35}  # more than a batch


def write_mrpc(folder: Path) -> None:
    """Pairs of up to three words, and one that is longer than the model reads."""
    draw = random.Random(3)
    words = [word for word in WORDS if not word.startswith("##")]
    folder.mkdir(parents=True)
    for split, count in ROWS.items():
        pairs = [[draw.choices(words, k=draw.randint(1, 3)) for _ in "12"] for _ in range(count)]
        pairs[0][0] *= 9
        lines = [
            f"{int(a[0] in b)}\t{row}\t{row}\t{' '.join(a)}\t{' '.join(b)}"
            for row, (a, b) in enumerate(pairs)
        ]
        (folder / f"{split}.tsv").write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8")


@pytest.mark.slow
def test_keeps_its_promise(tmp_path: Path) -> None:
    save_model(tmp_path / "bert", "BertModel")
    write_mrpc(tmp_path / "glue" / "MRPC")
    command = (SCRIPT, "MRPC", tmp_path / "glue", tmp_path / "bert", tmp_path / "out", "--cpu")
    done = run_script(*command, EPOCHS="1")
    assert done.returncode == 0, done.stderr
    assert f"{ROWS['dev']} of {ROWS['dev']} labels are those of tupe predict" in done.stdout
    assert re.search(r"valid +35 rows +accuracy [\d.]+ ", done.stdout)
