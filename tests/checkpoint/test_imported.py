"""What `tupe import` makes of each family computes what transformers computes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fairseq.data import Dictionary
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoTokenizer

from tests.adapters.small_batches import HEAD
from tests.checkpoint.huggingface_models import (
    CLASSES,
    POSITIONS,
    SIZES,
    SPECIALS,
    Saved,
    save_model,
)
from tupe_plugin.checkpoint.read import read_checkpoint
from tupe_plugin.commands import main as tupe
from tupe_plugin.models.tupe import TupeConfig, TupeModel

pytestmark = pytest.mark.slow

PAD, SEP = 1, 2
NOT_KEPT = {"classifier_dropout", "id2label", "label2id"}
"""Said in full; and white space in a label becomes `_`."""
CLASSES_OF_MODELS = [
    *("BertForPreTraining", "BertForMaskedLM", "BertForSequenceClassification", "BertModel"),
    *("RobertaForMaskedLM", "RobertaForSequenceClassification", "RobertaModel"),
    *("MPNetForMaskedLM", "MPNetForSequenceClassification", "MPNetModel"),
]


def load(folder: Path) -> TupeModel:
    """The model in a folder of `tupe import`, in float64."""
    state = read_checkpoint(folder / "checkpoint.pt")
    dictionary = Dictionary.load(str(folder / "dict.txt"))
    dictionary.add_symbol("<mask>")
    settings = {key: value for key, value in state["cfg"]["model"].items() if key != "_name"}
    task = SimpleNamespace(cfg=SimpleNamespace(), source_dictionary=dictionary)
    model = TupeModel.build_model(TupeConfig(**settings, load_checkpoint_heads=True), task).double()
    model.load_state_dict(state["model"])
    return model.double().eval()


def sentences(symbols: int, *, separators: int) -> Tensor:
    """Of one and of two texts, as long as may be, padded, and of a single token."""
    words = torch.randint(4, symbols, (4, POSITIONS), generator=torch.Generator().manual_seed(2))
    words[:, 0] = 0
    words[0, 4 : 4 + separators] = SEP
    words[0, POSITIONS - 1] = SEP
    words[1, 2 : 2 + separators] = SEP
    words[1, 7] = SEP
    words[1, 8:] = PAD
    words[2, 5] = SEP
    words[2, 6:] = PAD
    words[3, 1:] = PAD
    return words


def their_ids(saved: Saved, folder: Path) -> Tensor:
    """Of each of our symbols, its id in their vocabulary."""
    listed = [line.rsplit(" ", 1)[0] for line in (folder / "dict.txt").read_text().splitlines()]
    if saved.kind == "roberta":
        encoder = json.loads((folder / "encoder.json").read_text())
        units = {str(number): unit for unit, number in encoder.items()}
        listed = [units.get(unit, unit) for unit in listed]
    listed = [
        unit.removeprefix("[other:").removesuffix(">]") + ">" if "other:" in unit else unit
        for unit in listed
    ]
    *first, mask = SPECIALS[saved.kind]
    without_token = [unit for unit in listed if unit not in saved.tokens]
    ids = {token: number for number, token in enumerate([*saved.tokens, *without_token])}
    theirs = torch.tensor([ids[unit] for unit in (*first, *listed, mask)])
    assert sorted(theirs.tolist()) == list(range(len(saved.tokens) + 2))
    return theirs


def in_theirs(saved: Saved, tokens: Tensor, folder: Path) -> dict[str, Tensor]:
    """The same sentences as their model takes them: ids, mask, types of the tokens."""
    types = torch.zeros_like(tokens)
    types[0, 5:] = types[1, 3:] = 1
    return {
        "input_ids": their_ids(saved, folder)[tokens],
        "attention_mask": tokens.ne(PAD).long(),
        **({"token_type_ids": types} if saved.kind == "bert" else {}),
    }


@pytest.mark.parametrize("name", CLASSES_OF_MODELS)
def test_an_imported_model_equals_the_one_of_transformers(name: str, tmp_path: Path) -> None:
    saved = save_model(tmp_path / "theirs", name)
    assert tupe(["import", str(saved.folder), "-o", str(tmp_path / "ours")]) == 0
    model = load(tmp_path / "ours")
    separators = 1 if saved.kind == "bert" else 2
    assert ("--separator-token 2" in (tmp_path / "ours" / "sentences.args").read_text()) == (
        separators == 2
    )
    tokens = sentences(len(saved.tokens) + 2, separators=separators)
    words = tokens.ne(PAD)
    inputs = in_theirs(saved, tokens, tmp_path / "ours")
    with torch.no_grad():
        theirs: Any = saved.model(**inputs, output_hidden_states=True)
        features, _ = model(tokens, features_only=True)
        close(features[words], theirs.hidden_states[-1][words])
        logits = theirs.get("prediction_logits", theirs.get("logits"))
        if "SequenceClassification" in name:
            close(model(tokens, classification_head_name=HEAD)[0], logits)
            head = model.classification_heads[HEAD]
            before_dense = 0 if saved.kind == "bert" else SIZES["hidden_dropout_prob"]
            assert (head.input_dropout.p, head.dropout.p) == (
                before_dense,
                SIZES["hidden_dropout_prob"],
            )
            names = (tmp_path / "ours" / "label" / "dict.txt").read_text().split("\n")
            assert names[:CLASSES] == [f"class_{place} 1" for place in range(CLASSES)]
        elif logits is not None:
            order = their_ids(saved, tmp_path / "ours")
            close(model(tokens)[0][words], logits[words][:, order])
        if name == "BertModel":
            model.register_classification_head(HEAD, num_classes=CLASSES)
            model.double().load_state_dict(
                read_checkpoint(tmp_path / "ours/checkpoint.pt")["model"]
            )
            pooled = model.classification_heads[HEAD].dense(features[:, 0]).tanh()
            close(pooled, theirs.pooler_output)


@pytest.mark.parametrize("name", CLASSES_OF_MODELS)
def test_a_round_trip_changes_no_bit(name: str, tmp_path: Path) -> None:
    saved = save_model(tmp_path / "theirs", name)
    assert tupe(["import", str(saved.folder), "-o", str(tmp_path / "ours")]) == 0
    checkpoint = str(tmp_path / "ours" / "checkpoint.pt")
    assert tupe(["export", checkpoint, "-o", str(tmp_path / "back")]) == 0
    before, after = (
        load_file(tmp_path / place / "model.safetensors") for place in ("theirs", "back")
    )
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    configs = [
        json.loads((tmp_path / place / "config.json").read_text()) for place in ("theirs", "back")
    ]
    for key in configs[0].keys() & configs[1].keys() - NOT_KEPT:
        assert configs[0][key] == configs[1][key], key
    vocabulary = AutoTokenizer.from_pretrained(tmp_path / "back").get_vocab()
    assert {token: vocabulary[token] for token in saved.tokens} == {
        token: number for number, token in enumerate(saved.tokens)
    }


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
