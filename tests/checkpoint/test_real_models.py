"""Published weights: MiniLM and, with `make test-large`, MPNet equal what transformers computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.data import Dictionary
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from tests.checkpoint.packaged_models import minilm, mpnet
from tests.checkpoint.test_exported import ids
from tests.checkpoint.test_imported import load
from tupe_plugin.commands import main as tupe

ROWS = [
    ("A man is eating food.", "Someone had a naïve lunch in Zürich, 東京!"),
    ("Unaffable", None),
    ("", None),
    ("the of and " * 60, "to in " * 90),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "between"),
    [
        (minilm, 1),
        pytest.param(mpnet, 2, marks=pytest.mark.large),
    ],
)
def test_published_weights(model: Callable[[], Path], between: int, tmp_path: Path) -> None:
    source = model()
    assert tupe(["import", str(source), "-o", str(tmp_path / "ours")]) == 0
    ours = load(tmp_path / "ours").float()
    dictionary = Dictionary.load(str(tmp_path / "ours" / "dict.txt"))
    checkpoint = str(tmp_path / "ours" / "checkpoint.pt")
    assert tupe(["export", checkpoint, "-o", str(tmp_path / "back")]) == 0
    before, after = (
        load_file(folder / "model.safetensors") for folder in (source, tmp_path / "back")
    )
    assert before.keys() - after.keys() <= {"embeddings.position_ids"}
    assert all(torch.equal(before[key], after[key]) for key in after)

    theirs: Any = AutoModel.from_pretrained(tmp_path / "back").eval()
    published, again = (AutoTokenizer.from_pretrained(f) for f in (source, tmp_path / "back"))
    for row in ROWS:
        texts = [text for text in row if text is not None]
        inputs = again(*texts, return_tensors="pt")
        known = published(*texts, truncation=False, padding=False)
        assert inputs["input_ids"][0].tolist() == known["input_ids"]
        tokens = ids(tmp_path / "ours", dictionary, row, between).unsqueeze(0)
        padded = torch.cat([tokens, torch.full((1, 3), 1)], dim=1)
        with torch.no_grad():
            expected = theirs(**inputs).last_hidden_state
            found = ours(padded, features_only=True)[0][:, :-3]
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
