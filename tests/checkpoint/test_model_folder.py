"""Folders of transformers: every way to store the weights; what is wrong with one, in a line."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.checkpoint.huggingface_models import save_model
from tupe_plugin.checkpoint.errors import CheckpointError, UnsafeCheckpointError
from tupe_plugin.checkpoint.imported import import_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("theirs") / "bert", "BertForPreTraining").folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "bert"))


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def as_shards(folder: Path) -> None:
    weights = weights_of(folder)
    names = sorted(weights)
    places = {name: f"shard-{place % 3}.safetensors" for place, name in enumerate(names)}
    for shard in set(places.values()):
        save_file({name: weights[name] for name in names if places[name] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / "model.safetensors").unlink()


def as_bin(folder: Path) -> None:
    """As of BERT's first files: old names of the norms, buffers, the tied matrix a second time."""
    weights = weights_of(folder)
    old = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for key, value in weights.items()
    }
    old["bert.embeddings.position_ids"] = torch.arange(13)
    old["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"]
    torch.save(old, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def as_tied(folder: Path) -> None:
    """Only the second name of a shared parameter."""
    weights = weights_of(folder)
    weights["cls.predictions.decoder.bias"] = weights.pop("cls.predictions.bias")
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize("store", [as_shards, as_bin, as_tied])
def test_all_ways_to_store_the_weights_are_one(store: Callable[[Path], None], folder: Path) -> None:
    expected = import_model(folder / "model.safetensors").state["model"]
    store(folder)
    found = import_model(folder).state["model"]
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], value) for key, value in expected.items())


class RunsCode:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch ran",))


def setting(name: str, value: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))

    return change


def weight(name: str, value: torch.Tensor) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        save_file(weights_of(folder) | {name: value}, folder / "model.safetensors")

    return change


def classifier(
    outputs: int,
    *,
    without: str = " ",
    problem_type: str | None = None,
    names: list[str] | None = None,
) -> Callable[[Path], None]:
    """In the place of the heads of pre-training."""

    def change(folder: Path) -> None:
        head = {"weight": torch.zeros(outputs, 15), "bias": torch.zeros(outputs)}
        weights = {f"classifier.{name}": value.double() for name, value in head.items()}
        weights |= {k: v for k, v in weights_of(folder).items() if not k.startswith("cls.")}
        kept = {key: value for key, value in weights.items() if not key.startswith(without)}
        save_file(kept, folder / "model.safetensors")
        setting("problem_type", problem_type)(folder)
        setting("id2label", dict(enumerate(names or [])))(folder)

    return change


def written(name: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content) and None


def tokenizer(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "tokenizer.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def escaping_shard(folder: Path) -> None:
    as_shards(folder)
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("shard-1", "../shard-1"))


def lost_shard(folder: Path) -> None:
    as_shards(folder)
    (folder / "shard-2.safetensors").unlink()


def half(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 3_000)


def with_code(folder: Path) -> None:
    torch.save({"bert.x": RunsCode()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


EMBEDDING = "bert.embeddings.word_embeddings.weight"
NOT_BERT = {"type": "BertNormalizer", "lowercase": True, "strip_accents": False}
WRONG = [
    (setting("model_type", "gpt2"), "model_type is 'gpt2'; supported: bert, roberta, mpnet"),
    (setting("model_type", ["bert"]), "model_type is ['bert']; supported: bert, roberta, mpnet"),
    (setting("pair_separators", 3), "pair_separators is 3; supported: 1, 2"),
    (
        setting("architectures", ["BertForTokenClassification"]),
        "supported: BertModel, BertForMasked",
    ),
    (setting("architectures", ["BertForMultipleChoice"]), "architectures is ['BertForMultipleCho"),
    (setting("architectures", 3), "architectures is 3; supported: BertModel"),
    (setting("problem_type", "multi_label_classification"), "supported: single_label_classificat"),
    (classifier(3, problem_type="regression"), "the classifier's outputs are 3: one output is a"),
    (classifier(1, problem_type="single_label_classification"), "outputs are 1: one output is a"),
    (classifier(2, names=["a b", "a_b"]), "id2label calls class 1 'a_b'; give each class a name"),
    (classifier(2, names=["a", " "]), "id2label calls class 1 ' '; give each class a name"),
    (classifier(2, names=["</s>", "a"]), "id2label calls class 0 '</s>'; give each class a name"),
    (classifier(2, names=["<mask>", "a"]), "id2label calls class 0 '<mask>'; give each class a n"),
    (classifier(3, without="bert.pooler"), "the classifier has no dense.weight, so it does not"),
    (classifier(3, without="classifier.bias"), "the classifier has no out_proj.bias"),
    (setting("hidden_size", "x"), "hidden_size should be a whole number from 1 to 1,000,000"),
    (setting("hidden_size", 12), "is (19, 15), and by its settings (..., 12)"),
    (setting("intermediate_size", 12), "intermediate_size is 12, and its weights are of 11"),
    (setting("num_hidden_layers", 10**6), "say 1000000 layers, and there are weights of 2"),
    (setting("layer_norm_eps", 0), "layer_norm_eps should be a number from 1e-30 to 1, and is 0"),
    (setting("hidden_dropout_prob", "x"), "hidden_dropout_prob should be a number from 0 to below"),
    (setting("max_position_embeddings", 2), "max_position_embeddings should be a whole number fro"),
    (setting("hidden_act", "swish"), "hidden_act is 'swish'; supported: gelu"),
    (setting("position_embedding_type", "relative_key"), "only 'absolute' is supported"),
    (setting("is_decoder", True), "is_decoder is True; only False is supported"),
    (written("config.json", "["), "is not a JSON file"),
    (written("config.json", "[" * 100_000), "is not a JSON file"),
    (written("config.json", "[]"), "should hold named values"),
    (weight("bert.extra", torch.zeros(2)), "holds bert.extra, for which this model has no place"),
    (weight(EMBEDDING, torch.zeros(4)), "has no embeddings.word_embeddings.weight, a matrix"),
    (weight(EMBEDDING, torch.full((19, 15), torch.nan)), "are not finite"),
    (weight(EMBEDDING, torch.zeros(19, 15).to(torch.int8)), "is of type int8; quantised weights"),
    (weight(EMBEDDING, torch.zeros(9, 15)), "has 17 tokens, and the model rows for 9"),
    (weight("cls.predictions.bias", torch.zeros(7)), "has 7 rows, and the vocabulary 19"),
    (
        weight("cls.predictions.transform.dense.bias", torch.zeros(7)),
        "dense.bias of the masked-LM head is (7,), and should be (15,)",
    ),
    (
        weight("cls.predictions.decoder.weight", torch.zeros(19, 15)),
        "is not bert.embeddings.word_embeddings.weight; the masked-LM head must share it",
    ),
    (half, "is not a safetensors file, or is incomplete"),
    (escaping_shard, "names '../shard-1.safetensors', which is no file beside it"),
    (lost_shard, "no such checkpoint: "),
    (with_code, "which is neither a tensor nor plain data"),
    (lambda folder: (folder / "model.safetensors").unlink(), "has neither model.safetensors nor"),
    (lambda folder: (folder / "tokenizer.json").unlink(), "has no vocabulary: neither tokenizer"),
    (tokenizer(model={"type": "Unigram", "vocab": {}}), "a tokenizer of kind 'Unigram'"),
    (tokenizer(model={"type": "WordPiece", "vocab": {"a": 0}}), "the tokenizer has no [CLS]"),
    (tokenizer(model={"type": "WordPiece", "vocab": {"a": 9}}), "'a' has the id 9; 1 tokens shou"),
    (tokenizer(normalizer=NOT_BERT), "text is not treated as in BERT"),
    (tokenizer(pre_tokenizer={"type": "Whitespace"}), "text is not treated as in BERT"),
    (tokenizer(added_tokens=[{"content": "x", "id": 16}]), "'x' was added to the tokenizer"),
    (written("added_tokens.json", '{"<e>": 17}'), "'<e>' was added to the tokenizer, which takes"),
    (
        written("tokenizer_config.json", '{"added_tokens_decoder": {"17": {"content": "<e>"}}}'),
        "'<e>' was added to the tokenizer, which takes it out of a text before",
    ),
    (lambda folder: (folder / "config.json").unlink(), "has no config.json: give a folder"),
]


@pytest.mark.parametrize(("damage", "message"), WRONG, ids=[message[:30] for _, message in WRONG])
def test_what_is_wrong_is_said_in_one_line(
    damage: Callable[[Path], None],
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    damage(folder)
    with pytest.raises(CheckpointError) as refusal:
        import_model(folder)
    assert message in str(refusal.value)
    assert str(folder) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not (folder / "ran").exists()
    assert isinstance(refusal.value, UnsafeCheckpointError) == (damage is with_code)


@pytest.mark.parametrize(
    ("lowercase", "settings", "expected"),
    [
        (True, {}, True),
        (True, {"do_lower_case": False}, False),
        (False, {"do_lower_case": True}, True),
        (
            False,
            {},
            "leaves text in its case, and the class of the tokenizer in transformers makes",
        ),
        (True, {"strip_accents": False}, "text is not treated as in BERT"),
        (True, {"tokenize_chinese_chars": False}, "text is not treated as in BERT"),
        (True, {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False}, True),
        (False, {"tokenizer_class": "PreTrainedTokenizerFast"}, False),
    ],
)
def test_text_is_treated_as_the_class_of_the_tokenizer_does(
    lowercase: bool, settings: dict[str, Any], expected: bool | str, folder: Path
) -> None:
    """By its settings and not by `tokenizer.json`, but for the class that has none."""
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
    tokenizer(normalizer={**normalizer, "strip_accents": None, "lowercase": lowercase})(folder)
    written("tokenizer_config.json", json.dumps(settings))(folder)
    if isinstance(expected, str):
        with pytest.raises(CheckpointError, match=expected):
            import_model(folder)
        return
    found = transformers.AutoTokenizer.from_pretrained(folder).tokenize("A")
    assert found == ["a" if expected else "A"]
    assert import_model(folder).vocabulary.lowercase is expected


def swapped(first: str, second: str) -> Callable[[Path], None]:
    """Two tokens of a `vocab.json` in each other's place."""

    def change(folder: Path) -> None:
        path = folder / "vocab.json"
        ids = json.loads(path.read_text("utf-8"))
        ids[first], ids[second] = ids[second], ids[first]
        path.write_text(json.dumps(ids), "utf-8")

    return change


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "RobertaForMaskedLM",
            setting("hidden_act", "relu"),
            "is relu, and that of Roberta's masked-LM head gelu",
        ),
        (
            "RobertaModel",
            written("tokenizer_config.json", '{"add_prefix_space": true}'),
            "tokenizer_config.json: text is not treated as in GPT-2 (bytes, no space in front)",
        ),
        ("RobertaModel", swapped("<pad>", "<s>"), "pad_token_id is 1, and in the vocabulary <pad>"),
        (
            "MPNetModel",
            setting("relative_attention_num_buckets", 64),
            "relative_attention_num_buckets is 64; only 32 is supported",
        ),
    ],
)
def test_what_their_model_does_whatever_its_files_say(
    name: str, change: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    """Gelu in its head, a space in front, positions from the id of padding on, 32 buckets."""
    save_model(tmp_path, name)
    change(tmp_path)
    with pytest.raises(CheckpointError) as refusal:
        import_model(tmp_path)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("model", "name", "value", "option", "expected"),
    [
        ("BertModel", "layer_norm_eps", None, "layer_norm_eps", 1e-12),
        ("BertModel", "hidden_act", "gelu_pytorch_tanh", "activation_fn", "gelu_accurate"),
        ("RobertaModel", "hidden_act", "relu", "activation_fn", "relu"),  # it has no head of gelu
    ],
)
def test_a_setting_becomes_an_option(
    model: str, name: str, value: Any, option: str, expected: Any, tmp_path: Path
) -> None:
    save_model(tmp_path, model)
    setting(name, value)(tmp_path)
    assert import_model(tmp_path).options[option] == expected
