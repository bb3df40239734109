"""Whether a tokenizer of Hugging Face's transformers cuts text as preprocess/ does.

`tokenizer.json` says how, but only two classes take it as it is. The others, `BertTokenizer` and
the like, go by `tokenizer_config.json` and have values of their own for what is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..core.dictionary_symbols import FAIRSEQ_SYMBOLS, MASK
from .errors import UnusableCheckpointError
from .model_folder import read_object

SETTINGS = "tokenizer_config.json"
_BY_THE_FILE = ("PreTrainedTokenizerFast", "TokenizersBackend")
_OWN_TOKENS = frozenset(
    {*FAIRSEQ_SYMBOLS, MASK, "[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]", "<|endoftext|>"}
)
"""Of every family; no text has them."""
_PREFIX = "add_prefix_space"


def part_of(value: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """Named values among others.

    Raises:
        UnusableCheckpointError: there are none of this name.
    """
    part = value.get(name)
    if not isinstance(part, dict):
        raise UnusableCheckpointError(f"{path} has no {name}")
    return part


def wordpiece_lowercase(folder: Path, whole: Mapping[str, Any] | None = None) -> bool:
    """Whether BERT's text treatment makes lower case.

    Args:
        folder: of the tokenizer.
        whole: its `tokenizer.json`, if it has one.

    Raises:
        UnusableCheckpointError: the treatment is not BERT's.
    """
    path, settings = folder / SETTINGS, _settings(folder)
    treatment: dict[str, Any] = {"type": "BertNormalizer"}
    if whole is not None:
        path = folder / "tokenizer.json"
        treatment = part_of(whole, "normalizer", path)
        model, before = part_of(whole, "model", path), part_of(whole, "pre_tokenizer", path)
        if model.get("continuing_subword_prefix", "##") != "##":
            raise UnusableCheckpointError(f"{path}: units inside of words do not begin with ##")
        if before.get("type") != "BertPreTokenizer" or _longest_word(model) != 100:
            raise _not_of_bert(path)
    if settings.get("tokenizer_class") not in _BY_THE_FILE:
        if not treatment.get("lowercase", True) and "do_lower_case" not in settings:
            raise UnusableCheckpointError(
                f"{path} leaves text in its case, and the class of the tokenizer in transformers "
                f"makes lower case all the same: set do_lower_case in {folder / SETTINGS}"
            )
        for name, setting in (
            ("lowercase", "do_lower_case"),
            ("strip_accents", "strip_accents"),
            ("handle_chinese_chars", "tokenize_chinese_chars"),
        ):
            treatment = {**treatment, name: settings.get(setting, treatment.get(name))}
    lowercase = treatment.get("lowercase") is not False
    if (
        treatment.get("type") != "BertNormalizer"
        or treatment.get("strip_accents") not in (None, lowercase)
        or treatment.get("handle_chinese_chars") is False
        or not treatment.get("clean_text", True)
    ):
        raise _not_of_bert(path)
    return lowercase


def check_byte_level(folder: Path, whole: Mapping[str, Any] | None = None) -> None:
    """Hold a tokenizer against GPT-2's; the arguments are as above.

    Raises:
        UnusableCheckpointError: it is another.
    """
    path, settings = folder / SETTINGS, _settings(folder)
    before: Mapping[str, Any] = {"type": "ByteLevel"}
    other = False
    if whole is not None:
        path = folder / "tokenizer.json"
        before, model = part_of(whole, "pre_tokenizer", path), part_of(whole, "model", path)
        more = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")
        other = bool(whole.get("normalizer")) or any(model.get(name) for name in more)
    if settings.get("tokenizer_class") not in _BY_THE_FILE:
        before = {**before, _PREFIX: settings.get(_PREFIX, before.get(_PREFIX))}
    other = other or before.get("type") != "ByteLevel" or not before.get("use_regex", True)
    if other or before.get(_PREFIX):
        raise UnusableCheckpointError(
            f"{path}: text is not treated as in GPT-2 (bytes, no space in front), so that "
            "preprocess/ would give other units"
        )


def check_added_tokens(folder: Path, listed: Iterable[Any] = ()) -> None:
    """Refuse tokens that are taken out of a text before it is cut.

    Args:
        folder: of the tokenizer.
        listed: `added_tokens` of its `tokenizer.json`.

    Raises:
        UnusableCheckpointError: there are others than the special ones of a sequence.
    """
    older = folder / "added_tokens.json"
    decoder = _settings(folder).get("added_tokens_decoder")
    named = [*listed, *(decoder.values() if isinstance(decoder, dict) else ())]
    added = [*(read_object(older) if older.is_file() else ())]
    added += [one["content"] for one in named if isinstance(one, dict) and "content" in one]
    others = [token for token in added if token not in _OWN_TOKENS]
    if others:
        raise UnusableCheckpointError(
            f"{folder}: {others[0]!r:.80} was added to the tokenizer, which takes it out of a text "
            "before it cuts the rest into units; preprocess/ would cut it like the rest"
        )


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS
    return read_object(path) if path.is_file() else {}


def _longest_word(model: Mapping[str, Any]) -> Any:
    return model.get("max_input_chars_per_word", 100)


def _not_of_bert(path: Path) -> UnusableCheckpointError:
    return UnusableCheckpointError(
        f"{path}: text is not treated as in BERT (lower case and accents go together, Chinese "
        "characters stand alone), so that preprocess/ would give other units"
    )
