"""What was trained here, as a stock model of transformers: equal for raw sentences and pairs."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from fairseq.data import Dictionary
from fairseq.models.roberta import RobertaModel
from torch import Tensor, nn

from tests.adapters.small_batches import HEAD
from tests.checkpoint.huggingface_models import MERGES, TOKENS
from tests.checkpoint.test_fairseq_roberta import SIZES, roberta
from tests.core.random_parameters import randomized
from tupe_plugin.checkpoint.tokenizer_files import gpt2_encoder
from tupe_plugin.checkpoint.write import at_the_beginning
from tupe_plugin.commands import main as tupe
from tupe_plugin.data.treatment import read_treatment
from tupe_plugin.data.units.apply_wordpiece import dictionary_text
from tupe_plugin.models.tupe import TupeConfig, TupeModel

pytestmark = pytest.mark.slow

SENTENCES = [("ab c 東.", None), ("é A,", "Ab c"), ("", None), ("the c theatre", "the")]


def write_data(folder: Path, kind: str) -> Dictionary:
    """As preprocess/ leaves it, with labels."""
    (folder / "label").mkdir(parents=True)
    (folder / "label" / "dict.txt").write_text("no 1\nyes 1\nmadeupword0000 0\n", "utf-8")
    (folder / "cleaning.txt").write_text(f"apply_{kind}\n", "utf-8")
    if kind == "wordpiece":
        (folder / "vocab.txt").write_text("".join(f"{u}\n" for u in TOKENS["bert"]), "utf-8")
        (folder / "dict.txt").write_text(dictionary_text(TOKENS["bert"]), "utf-8")
    else:
        numbers = gpt2_encoder(MERGES)
        (folder / "encoder.json").write_text(json.dumps(numbers), "utf-8")
        merges = "".join(" ".join(pair) + "\n" for pair in MERGES)
        (folder / "vocab.bpe").write_text(merges, "utf-8")
        by_frequency = reversed(numbers.values())
        (folder / "dict.txt").write_text("".join(f"{n} 9\n" for n in by_frequency), "utf-8")
    dictionary = Dictionary.load(str(folder / "dict.txt"))
    dictionary.add_symbol("<mask>")
    return dictionary


def save(model: nn.Module, folder: Path, data: Path, settings: Any) -> Path:
    task = {"_name": "sentence_prediction", "data": str(data)}
    cfg = {"model": settings, "task": task}
    torch.save(at_the_beginning(model.state_dict(), cfg=cfg), folder / "checkpoint.pt")
    return folder / "checkpoint.pt"


def tupe_model(scheme: str, folder: Path, data: Path, dictionary: Dictionary) -> TupeModel:
    task = Namespace(cfg=Namespace(), source_dictionary=dictionary)
    options = {**SIZES, "position_scheme": scheme, "embedding_normalize": True}
    model = randomized(TupeModel.build_model(TupeConfig(**options), task), std=0.3)
    if scheme == "bert-a":
        model.register_classification_head(HEAD, num_classes=2)
        randomized(model.classification_heads, std=0.3)
    save(model, folder, data, {"_name": "tupe_tiny", **options})
    return model.eval()


def roberta_model(folder: Path, data: Path, dictionary: Dictionary) -> RobertaModel:
    model, args = roberta(Namespace(source_dictionary=dictionary), classes=2)
    save(model, folder, data, args)
    return model


def ids(folder: Path, dictionary: Dictionary, row: tuple[str, str | None], between: int) -> Tensor:
    """As the sentence-prediction task makes them."""
    treatment = read_treatment(folder)
    assert treatment is not None
    texts = [text for text in row if text is not None]
    lines = [
        dictionary.encode_line(units, add_if_not_exist=False).long() for units in treatment(texts)
    ]
    start, separator = torch.tensor([0]), torch.tensor([2] * (between - 1), dtype=torch.long)
    return torch.cat([start, lines[0], *(part for line in lines[1:] for part in (separator, line))])


@pytest.mark.parametrize(
    ("scheme", "kind", "name", "between"),
    [
        ("bert-a", "wordpiece", "BertForSequenceClassification", 1),
        ("bert-r", "wordpiece", "MPNetForMaskedLM", 2),
        ("roberta", "gpt2_bpe", "RobertaForSequenceClassification", 2),
    ],
)
def test_a_stock_model_equals_ours_for_raw_text(
    scheme: str, kind: str, name: str, between: int, tmp_path: Path
) -> None:
    dictionary = write_data(tmp_path / "data", kind)
    place = (tmp_path, tmp_path / "data", dictionary)
    ours: Any = roberta_model(*place) if scheme == "roberta" else tupe_model(scheme, *place)
    assert tupe(["export", str(tmp_path / "checkpoint.pt"), "-o", str(tmp_path / "out")]) == 0
    theirs = getattr(transformers, name).from_pretrained(tmp_path / "out", dtype=torch.float64)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.model_max_length == 13
    classifier = "Classification" in name
    for row in SENTENCES:
        tokens = ids(tmp_path / "data", dictionary, row, between)[:13].unsqueeze(0)
        inputs = tokenizer(*(text for text in row if text is not None), return_tensors="pt")
        assert inputs["input_ids"].shape == tokens.shape
        with torch.no_grad():
            found = theirs.eval()(**inputs).logits
            expected, _ = ours(tokens, classification_head_name=HEAD if classifier else None)
        if classifier:
            assert theirs.config.id2label == {0: "no", 1: "yes"}
        torch.testing.assert_close(found, expected.double(), rtol=1e-6, atol=1e-6)
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert f"{name}.from_pretrained" in card


def test_names_of_classes_come_from_the_fine_tunings_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dictionary = write_data(tmp_path / "data", "wordpiece")
    tupe_model("bert-a", tmp_path, tmp_path / "data", dictionary)
    command = ["export", str(tmp_path / "checkpoint.pt"), "-o"]
    labels = tmp_path / "data" / "label" / "dict.txt"
    labels.write_text("no 1\nyes 1\nperhaps 1\n")
    assert tupe([*command, str(tmp_path / "other")]) == 1
    assert "has 2 outputs" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    labels.unlink()
    assert tupe([*command, str(tmp_path / "nameless")]) == 0
    assert "LABEL_0" in capsys.readouterr().out
