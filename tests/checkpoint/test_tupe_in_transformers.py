"""TUPE as a model of transformers: the same numbers without fairseq and without this package."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from fairseq.data import Dictionary
from torch import Tensor, nn

from tests.adapters.small_batches import HEAD
from tests.api.trained_models import SENTENCES, write_units
from tests.checkpoint.test_exported import ids, write_data
from tests.checkpoint.test_fairseq_roberta import SIZES
from tests.core.random_parameters import randomized
from tupe_plugin.checkpoint.errors import CheckpointError
from tupe_plugin.checkpoint.imported import import_model
from tupe_plugin.checkpoint.read import read_checkpoint
from tupe_plugin.checkpoint.write import at_the_beginning
from tupe_plugin.commands import main as tupe
from tupe_plugin.core.encoder_view import view_of
from tupe_plugin.data import text
from tupe_plugin.data.dictionary_file import symbols_in
from tupe_plugin.data.label_scale import label_scale
from tupe_plugin.data.line_steps import LINE_STEPS
from tupe_plugin.data.text_steps import TEXT_STEPS
from tupe_plugin.data.treatment import read_treatment
from tupe_plugin.data.units.apply_wordpiece import SPECIALS
from tupe_plugin.hugging_face.modeling_tupe import TupeForSequenceClassification
from tupe_plugin.models.tupe import TupeConfig, TupeModel

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("without_fairseq.py")
LONGEST = SIZES["max_positions"]
PAD, SEP = 1, 2
SCALE = 5  # of the labels of a regression
SEGMENTS = "encoder.sentence_encoder.segment_embeddings.weight"
TUPE_DEFAULTS = {field.name: field.default for field in fields(TupeConfig)}


class Case(NamedTuple):
    """A checkpoint and what becomes of it; its scheme is its name, unless the options say."""

    kind: str
    options: dict[str, Any]
    outputs: int = 0
    """Of a classification head; 0: none."""
    separators: int = 2
    name: str = "TupeForMaskedLM"


CLASSIFIER = "TupeForSequenceClassification"
STOCK = {"position_scheme": "bert-a", "embedding_normalize": True}
OF_MPNET = {"position_scheme": "bert-r", "embedding_normalize": True}
RELU = {**OF_MPNET, "activation_fn": "relu"}
PRE_LN = {"encoder_normalize_before": True}
CASES = {
    "tupe-a": Case("moses", {"layer_norm_eps": 1e-3}),
    "tupe-r": Case("moses", {"embedding_normalize": True}, 2, 2, CLASSIFIER),
    "tupe-a-tie-cls": Case("moses", PRE_LN, 1, 1, CLASSIFIER),
    "bert-a-d": Case("wordpiece", {"num_segments": 2, "activation_fn": "gelu_fast"}),
    "none": Case("wordpiece", {"pooler_activation_fn": "linear"}, 2, 1, CLASSIFIER),
    "bert-a": Case("wordpiece", {"activation_fn": "tanh", "position_offset": 3}),
    "bert-r": Case("gpt2_bpe", {"max_rel_pos": 64, **PRE_LN}),
    "bert-r, relu": Case("wordpiece", RELU),
    "bert-r, 16 bins": Case("wordpiece", {**OF_MPNET, "rel_pos_bins": 16}, 2, 1, CLASSIFIER),
    "stock": Case("moses", STOCK, 2, 2, "BertForSequenceClassification"),
}


def data_of(kind: str, folder: Path) -> Dictionary:
    """As preprocess/ leaves it."""
    if kind != "moses":
        return write_data(folder, kind)
    write_units(folder, "bpe")
    units = ["the", "ma@@", "man", "h@@", "om@@", "'s", ".", "<url>", '"', "...", "n", "e@@", ","]
    (folder / "dict.txt").write_text("".join(f"{unit} 7\n" for unit in units), "utf-8")
    (folder / "manifest.json").write_text(f'{{"options": {{"label_scale": {SCALE}}}}}', "utf-8")
    (folder / "label").mkdir()
    (folder / "label" / "dict.txt").write_text("no 1\nyes 1\n", "utf-8")
    dictionary = Dictionary.load(str(folder / "dict.txt"))
    dictionary.add_symbol("<mask>")
    return dictionary


def checkpoint_of(scheme: str, case: Case, folder: Path, dictionary: Dictionary) -> nn.Module:
    """A model with random parameters, and its file."""
    options: dict[str, Any] = {**SIZES, "position_scheme": scheme, **case.options}
    task = Namespace(cfg=Namespace(), source_dictionary=dictionary)
    model = TupeModel.build_model(TupeConfig(**options), task)
    settings: dict[str, Any] = {"_name": "masked_lm", "data": str(folder / "data")}
    if case.outputs:
        model.register_classification_head(HEAD, num_classes=case.outputs)
        separator = SEP if case.separators == 2 else None
        settings |= {"_name": "sentence_prediction", "num_classes": case.outputs}
        settings |= {"init_token": 0, "separator_token": separator}
    if case.outputs == 1:
        (folder / "data" / "label" / "dict.txt").unlink()  # a regression has no names
    randomized(model, std=0.3)
    cfg = {"model": {"_name": "tupe_tiny", **options}, "task": settings}
    torch.save(at_the_beginning(model.state_dict(), cfg=cfg), folder / "checkpoint.pt")
    return model.eval()


def batch(symbols: int) -> Tensor:
    """A pair, as long as may be; shorter ones, padded; a single token."""
    tokens = torch.randint(4, symbols, (4, LONGEST), generator=torch.Generator().manual_seed(2))
    tokens[:, 0] = 0
    tokens[0, [4, LONGEST - 1]] = SEP
    for row, length in enumerate((LONGEST, 8, 5, 1)):
        tokens[row, length:] = PAD
    return tokens


class Exported(NamedTuple):
    model: nn.Module
    dictionary: Dictionary
    folder: Path
    tokens: Tensor
    texts: list[tuple[str, ...]]
    result: dict[str, Any]


MASKED = "The <mask>'s home."
TEXTS = [*((sentence,) for sentence in SENTENCES), ("", "The man's"), (SENTENCES[2], SENTENCES[1])]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, run_command: Any) -> dict[str, Exported]:
    root = tmp_path_factory.mktemp("exported")
    found, cases = [], []
    for scheme, case in CASES.items():
        folder = root / scheme
        dictionary = data_of(case.kind, folder / "data")
        model = checkpoint_of(scheme, case, folder, dictionary)
        assert tupe(["export", str(folder / "checkpoint.pt"), "-o", str(folder / "out")]) == 0
        tokens = batch(len(dictionary))
        auto = f"AutoModelFor{case.name.partition('For')[2]}"
        theirs = order_of(dictionary, folder / "out")[tokens]
        folders = {"folder": str(folder / "out"), "again": str(folder / "again")}
        texts = {"texts": TEXTS, "masked": MASKED}
        cases.append({**folders, **texts, "auto": auto, "tokens": theirs})
        found.append((model, dictionary, folder, tokens, TEXTS))
    torch.save(cases, root / "cases.pt")
    environment = {"HF_HOME": str(root / "cache"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    run_command("python", SCRIPT, root / "cases.pt", root / "results.pt", cwd=root, env=environment)
    results = torch.load(root / "results.pt")
    return {
        scheme: Exported(*one, result)
        for scheme, one, result in zip(CASES, found, results, strict=True)
    }


def order_of(dictionary: Dictionary, out: Path) -> Tensor:
    """Of each of our symbols, its id in the exported model."""
    if not (out / "tokenizer.json").is_file():
        return torch.arange(len(dictionary))
    vocabulary = json.loads((out / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    if "[CLS]" not in vocabulary:
        return torch.arange(len(dictionary))
    theirs = {ours: name for name, ours in SPECIALS.items()}
    return torch.tensor([vocabulary[theirs.get(unit, unit)] for unit in dictionary.symbols])


@pytest.mark.parametrize("scheme", CASES)
def test_it_computes_the_same(scheme: str, exported: dict[str, Exported]) -> None:
    """Hidden states and logits, for padded batches, pairs, and lengths of 1 to the longest."""
    case, one = CASES[scheme], exported[scheme]
    order = order_of(one.dictionary, one.folder / "out")
    words = one.tokens.ne(PAD)
    head = HEAD if case.outputs else None
    with torch.no_grad():
        expected, _ = one.model(one.tokens, classification_head_name=head)
        _, extra = one.model(one.tokens, features_only=True, return_all_hiddens=True)
    found = one.result["logits"] if head else one.result["logits"][words][:, order]
    close(found, expected if head else expected[words])
    for states, theirs in zip(extra["inner_states"], one.result["hidden_states"], strict=True):
        close(theirs[words], states.transpose(0, 1)[words])
    for row, (alone, kept) in enumerate(zip(one.result["alone"], words, strict=True)):
        close(alone if head else alone[:, order], expected[row] if head else expected[row][kept])


@pytest.mark.parametrize("scheme", CASES)
def test_a_raw_string_gives_the_ids_of_our_data(scheme: str, exported: dict[str, Exported]) -> None:
    case, one = CASES[scheme], exported[scheme]
    order = order_of(one.dictionary, one.folder / "out")
    for row, found in zip(TEXTS, one.result["ids"], strict=True):
        both = (*row, None)[:2]
        tokens = ids(one.folder / "data", one.dictionary, both, case.separators)
        assert found == order[tokens].tolist(), row
    if case.kind == "moses":
        units = read_treatment(one.folder / "data").around_masks(MASKED).split()
        assert one.result["masked"] == [0, *map(one.dictionary.index, units), SEP]
        assert one.result["mask"] in one.result["masked"]


@pytest.mark.parametrize("scheme", CASES)
def test_it_says_what_it_is(scheme: str, exported: dict[str, Exported]) -> None:
    case, one = CASES[scheme], exported[scheme]
    assert one.result["name"] == case.name
    assert one.result["max_length"] == LONGEST
    if case.outputs == 2:
        assert one.result["labels"] == {0: "no", 1: "yes"}
    card = (one.folder / "out" / "README.md").read_text("utf-8")
    loader = f"AutoModelFor{case.name.partition('For')[2]}"
    trusting = f'{loader}.from_pretrained(".", trust_remote_code=True)'
    assert ("Its output times 5 is a label" in card) == (case.outputs == 1)
    assert (trusting in card) == case.name.startswith("Tupe")
    assert f'{loader if trusting in card else case.name}.from_pretrained("."' in card


def test_strategies_see_it_as_they_see_ours(exported: dict[str, Exported]) -> None:
    one = exported["tupe-r"]
    model = TupeForSequenceClassification.from_pretrained(one.folder / "out")
    assert view_of(model).names.biases == view_of(one.model).names.biases


@pytest.mark.parametrize("place", ["out", "again"])
@pytest.mark.parametrize("scheme", CASES)
def test_the_way_back_changes_no_bit(
    scheme: str, place: str, exported: dict[str, Exported], tmp_path: Path
) -> None:
    """Of what `tupe export` wrote, and of what `save_pretrained` wrote; no code in it is run."""
    case, one = CASES[scheme], exported[scheme]
    for path in (one.folder / "again").glob("*.py"):
        path.write_text("raise SystemExit")
    back = tmp_path / "back"
    assert tupe(["import", str(one.folder / place), "-o", str(back)]) == 0
    before, after = (read_checkpoint(f / "checkpoint.pt") for f in (one.folder, back))
    left_out = "encoder.lm_head." if case.outputs else "nothing"
    kept = {key: value for key, value in before["model"].items() if left_out not in key}
    assert all(torch.equal(after["model"][key], value) for key, value in kept.items())
    added = after["model"].keys() - kept.keys()
    assert added == ({SEGMENTS} if case.name.startswith("Bert") else set())
    settings = {**TUPE_DEFAULTS, **before["cfg"]["model"], "_name": "tupe_base"}
    settings["activation_fn"] = settings["activation_fn"].replace("_fast", "_accurate")
    changed = {name for name, v in after["cfg"]["model"].items() if settings[name] != v}
    assert changed == ({"num_segments"} if added else set())
    if case.outputs:
        for name in ("num_classes", "init_token", "separator_token"):
            assert after["cfg"]["task"][name] == before["cfg"]["task"][name]
        assert after["cfg"]["task"]["regression_target"] == (case.outputs == 1)
        assert label_scale("XYZ", back) == (SCALE if case.outputs == 1 else 1)

    symbols = [symbols_in(folder / "dict.txt") for folder in (one.folder / "data", back)]
    assert symbols[0] == symbols[1]
    texts = [text for row in TEXTS for text in row]
    treatments = [read_treatment(folder) for folder in (one.folder / "data", back)]
    assert treatments[0](texts) == treatments[1](texts)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("position_scheme", "tupe-b", "position_scheme is 'tupe-b'; supported: tupe-a"),
        ("position_scheme", "tupe-a", "relative.bias.weight, for which a model of its settings"),
        ("rel_pos_bins", -2, "rel_pos_bins should be a whole number from 0"),
        ("embedding_normalize", 1, "embedding_normalize is 1; supported: True, False"),
        ("eos_token_id", 5, "eos_token_id is 5, and in the vocabulary </s> has the id 2"),
    ],
)
def test_a_wrong_setting_is_refused(
    name: str, value: Any, message: str, exported: dict[str, Exported], tmp_path: Path
) -> None:
    shutil.copytree(exported["tupe-r"].folder / "out", tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | {name: value}), "utf-8")
    with pytest.raises(CheckpointError) as refusal:
        import_model(tmp_path)
    assert message in str(refusal.value)


def test_every_step_of_text_is_in_the_tokenizer() -> None:
    own = {path.stem for path in Path(text.__path__[0]).glob("*.py")}
    assert TEXT_STEPS.keys() == own & LINE_STEPS.keys()


def test_text_of_the_perl_scripts_has_no_tokenizer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dictionary = data_of("moses", tmp_path / "data")
    checkpoint_of("tupe-a", CASES["tupe-a"], tmp_path, dictionary)
    (tmp_path / "data" / "cleaning.txt").write_text("perl_tokenize_words,lowercase_text\n")
    assert tupe(["export", str(tmp_path / "checkpoint.pt"), "-o", str(tmp_path / "out")]) == 0
    assert "without a tokenizer: " in (said := capsys.readouterr().out)
    assert "names perl_tokenize_words, which is a program" in said
    assert not (tmp_path / "out" / "tokenizer_config.json").exists()
    assert "AutoTokenizer.from" not in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_sequences_that_a_tokenizer_does_not_make_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dictionary = data_of("moses", tmp_path / "data")
    checkpoint_of("tupe-a", CASES["tupe-r"], tmp_path, dictionary)
    state = torch.load(tmp_path / "checkpoint.pt")
    state["cfg"]["task"]["init_token"] = None
    torch.save(state, tmp_path / "checkpoint.pt")
    assert tupe(["export", str(tmp_path / "checkpoint.pt"), "-o", str(tmp_path / "out")]) == 1
    assert "was fine-tuned with --init-token None" in capsys.readouterr().err


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
