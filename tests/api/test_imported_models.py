"""`TupeModel` on what `tupe import` writes: from raw text what transformers computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tests.checkpoint.huggingface_models import CLASSES, Saved, save_model
from tests.checkpoint.test_imported import PAD, in_theirs
from tupe_plugin import TupeModel
from tupe_plugin.commands import main as tupe

pytestmark = pytest.mark.slow

ROWS = ["ab c.", "", "abd, the AB é", "東 the theft"]


def imported(folder: Path, name: str) -> tuple[TupeModel, Saved]:
    saved = save_model(folder / "theirs", name)
    assert tupe(["import", str(saved.folder), "-o", str(folder / "ours")]) == 0
    return TupeModel.from_pretrained(folder / "ours", device="cpu"), saved


def inputs_of(saved: Saved, rows: list[Tensor], folder: Path) -> dict[str, Tensor]:
    """What their model takes for the rows, which are single sentences."""
    tokens = pad_sequence(rows, batch_first=True, padding_value=PAD)
    inputs = in_theirs(saved, tokens, folder / "ours")
    if "token_type_ids" in inputs:
        inputs["token_type_ids"].zero_()
    return inputs


@pytest.mark.parametrize("name", ["BertForMaskedLM", "RobertaForMaskedLM", "MPNetForMaskedLM"])
def test_features_and_masks(name: str, tmp_path: Path) -> None:
    model, saved = imported(tmp_path, name)
    ids = model.token_ids(ROWS)
    assert 3 not in ids[0]  # its units are known
    inputs = inputs_of(saved, ids, tmp_path)
    theirs: Any = saved.model(**inputs, output_hidden_states=True)
    for features, states, row in zip(
        model.encode(ROWS, pooling=None), theirs.hidden_states[-1], ids, strict=True
    ):
        torch.testing.assert_close(features, states[: len(row)].float(), rtol=1e-4, atol=1e-4)

    if saved.kind == "roberta":  # not GPT-2's numbers
        assert model.tokenize("the the") == ["the", "Ġthe"]
        assert model.tokens("the the") == [["<s>", "the", "Ġthe", "</s>"]]

    (found,) = model.fill_mask("<mask> the ab", top=1)
    masked = model.token_ids("a the ab")[0].clone()
    masked[1] = len(model.module.encoder.dictionary) - 1
    logits = saved.model(**inputs_of(saved, [masked, masked], tmp_path)).logits[0, 1]
    assert found[0].probability == pytest.approx(float(logits.softmax(-1).max()), rel=1e-4)


def test_a_bare_encoder_fills_no_mask(tmp_path: Path) -> None:
    """fairseq's model of it has a head, of random numbers."""
    model, _ = imported(tmp_path, "BertModel")
    assert len(model.encode(ROWS)) == len(ROWS)
    with pytest.raises(ValueError, match=r"no masked-LM head .* cannot fill a <mask>: import a"):
        model.fill_mask("<mask> the ab")


@pytest.mark.parametrize(
    "name", ["BertForSequenceClassification", "RobertaForSequenceClassification"]
)
def test_an_imported_classifier_predicts(name: str, tmp_path: Path) -> None:
    model, saved = imported(tmp_path, name)
    pairs = [("ab c", "a, the theft"), ("ab", ""), ("c", "d")]
    with_pairs = model.token_ids(pairs)
    inputs = inputs_of(saved, with_pairs, tmp_path)
    if "token_type_ids" in inputs:
        for types, row in zip(inputs["token_type_ids"], with_pairs, strict=True):
            types[row.tolist().index(2) + 1 : len(row)] = 1
    wanted = saved.model(**inputs).logits.softmax(-1).float().detach().numpy()
    np.testing.assert_allclose(model.scores(pairs), wanted, atol=1e-4)
    assert model.labels == tuple(f"class_{place}" for place in range(CLASSES))
