"""`TupeModel` on a folder of transformers: from raw text what transformers computes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tests.checkpoint.huggingface_models import CLASSES, Saved, save_model
from tests.checkpoint.test_imported import PAD, in_theirs
from tupe_plugin import TupeModel
from tupe_plugin.commands import main as tupe

from .trained_models import SENTENCES

pytestmark = pytest.mark.slow

ROWS = ["ab c.", "", "abd, the AB é", "東 the theft"]


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple]:
    """Gives the model of their folder, after a look at the one that `tupe import` makes of it."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def load(name: str, **how: Any) -> tuple[TupeModel, Saved]:
        saved = save_model(tmp_path / "theirs", name, **how)
        saved.model.float()
        model = TupeModel.from_pretrained(saved.folder, device="cpu")
        assert [*temporary.glob("tupe*")] == []
        assert (model.path, model.data) == (saved.folder, saved.folder)
        assert tupe(["import", str(saved.folder), "-o", str(tmp_path / "ours")]) == 0
        ours = TupeModel.from_pretrained(tmp_path / "ours", device="cpu")
        rows = [*ROWS, ("ab", "c")]
        assert torch.equal(model.encode(rows), ours.encode(rows))
        return model, saved

    return load


def close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(torch.as_tensor(ours), theirs, rtol=1e-5, atol=1e-5)


def inputs_of(saved: Saved, rows: list[Tensor], folder: Path) -> dict[str, Tensor]:
    """What their model takes for the rows, which are single sentences."""
    tokens = pad_sequence(rows, batch_first=True, padding_value=PAD)
    inputs = in_theirs(saved, tokens, folder / "ours")
    if "token_type_ids" in inputs:
        inputs["token_type_ids"].zero_()
    return inputs


@pytest.mark.parametrize("name", ["BertForMaskedLM", "RobertaForMaskedLM", "MPNetForMaskedLM"])
def test_features_and_masks(name: str, tmp_path: Path, loaded: Callable) -> None:
    model, saved = loaded(name)
    ids = model.token_ids(ROWS)
    assert 3 not in ids[0]  # its units are known
    (pair,) = model.token_ids([("ab", "c")])
    assert pair.tolist().count(2) == (2 if saved.kind == "bert" else 3)  # </s>
    inputs = inputs_of(saved, ids, tmp_path)
    theirs: Any = saved.model(**inputs, output_hidden_states=True)
    for features, states, row in zip(
        model.encode(ROWS, pooling=None), theirs.hidden_states[-1], ids, strict=True
    ):
        close(features, states[: len(row)])

    if saved.kind == "roberta":  # not GPT-2's numbers
        assert model.tokenize("the the") == ["the", "Ġthe"]
        assert model.tokens("the the") == [["<s>", "the", "Ġthe", "</s>"]]

    (found,) = model.fill_mask("<mask> the ab", top=1)
    masked = model.token_ids("a the ab")[0].clone()
    masked[1] = len(model.module.encoder.dictionary) - 1
    logits = saved.model(**inputs_of(saved, [masked, masked], tmp_path)).logits[0, 1]
    close(found[0].probability, logits.softmax(-1).max())


def test_a_bare_encoder_fills_no_mask(loaded: Callable) -> None:
    """fairseq's model of it has a head, of random numbers."""
    model, saved = loaded("BertModel")
    assert len(model.encode(ROWS)) == len(ROWS)
    with pytest.raises(ValueError, match=r"no masked-LM head .* cannot fill a <mask>: import a"):
        model.fill_mask("<mask> the ab")
    with pytest.raises(ValueError, match=r"a vocabulary of its own: leave data out \(in Python"):
        TupeModel.from_pretrained(saved.folder, data="data")


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("BertForSequenceClassification", CLASSES),
        ("RobertaForSequenceClassification", CLASSES),
        ("MPNetForSequenceClassification", 1),
    ],
)
def test_a_classifier_predicts(
    name: str, classes: int, tmp_path: Path, loaded: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or a regression, which has one output."""
    model, saved = loaded(name, classes=classes)
    pairs = [("ab c", "a, the theft"), ("ab", ""), ("c", "d")]
    with_pairs = model.token_ids(pairs)
    inputs = inputs_of(saved, with_pairs, tmp_path)
    if "token_type_ids" in inputs:
        for types, row in zip(inputs["token_type_ids"], with_pairs, strict=True):
            types[row.tolist().index(2) + 1 : len(row)] = 1
    with torch.no_grad():
        logits = saved.model(**inputs).logits.double()
    wanted = logits if classes == 1 else logits.softmax(-1)
    close(model.scores(pairs), wanted)
    labels = [] if classes == 1 else [f"class_{place}" for place in range(classes)]
    assert (model.labels, model.is_regression) == (tuple(labels), classes == 1)

    checkpoint = str(tmp_path / "ours" / "checkpoint.pt")
    assert tupe(["export", checkpoint, "-o", str(tmp_path / "back")]) == 0
    weights = tmp_path / "back" / "model.safetensors"
    assert TupeModel.from_pretrained(weights, device="cpu").predict(pairs) == model.predict(pairs)

    text = tmp_path / "text"
    text.write_text("".join(f"{one}\t{other}\n" for one, other in pairs))
    capsys.readouterr()
    assert tupe(["predict", str(saved.folder), "--text", str(text), "-o", "-"]) == 0
    header, *rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert header == ["index", "prediction", *(f"probability_{label}" for label in labels)]
    found = torch.tensor([[float(cell) for cell in row[-classes:]] for row in rows])
    close(found.double(), wanted)
    if labels:
        assert [row[1] for row in rows] == [labels[place] for place in wanted.argmax(-1)]


def test_an_exported_tupe_is_loaded_as_it_is(
    classifier: TupeModel, masked_lm: TupeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With Moses and BPE, and without a word of what a classifier has no use for."""
    loaded = []
    for model in (classifier, masked_lm):
        folder = tmp_path / model.path.stem
        # a file, or the folder of a run
        of_run = model.path.parent if model is classifier else model.path
        assert tupe(["export", str(of_run), "-o", str(folder)]) == 0
        caplog.clear()
        with caplog.at_level("INFO"):
            loaded.append(TupeModel.from_pretrained(folder, device=model.device))
        assert caplog.records == []
        assert torch.equal(loaded[-1].encode(SENTENCES), model.encode(SENTENCES))
    assert loaded[0].predict(SENTENCES) == classifier.predict(SENTENCES)
    assert loaded[1].fill_mask("<mask>'s") == masked_lm.fill_mask("<mask>'s")
