"""The vocabulary in a folder of Hugging Face's transformers: WordPiece, GPT-2's BPE, Moses and BPE.

    tokenizer.json                        both of the first, or
    vocab.txt, tokenizer_config.json      WordPiece
    vocab.json, merges.txt                GPT-2's BPE
    dict.txt, bpe.codes, cleaning.txt     Moses and BPE, as preprocess/ has it

A tokenizer that cuts text in another way than preprocess/ is refused: other units would follow, in
silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..core.dictionary_symbols import FAIRSEQ_SYMBOLS, MASK
from ..data.dictionary_file import NAME, dictionary_in, read_dictionary
from ..data.line_steps import LINE_STEPS
from ..data.treatment import (
    CODES,
    GPT2_ENCODER,
    GPT2_MERGES,
    GPT2_ORDER,
    STEPS,
    VOCABULARY,
    read_line_steps,
    unit_files_in,
)
from .errors import UnusableCheckpointError
from .model_folder import read_object
from .tokenizer_treatment import (
    check_added_tokens,
    check_byte_level,
    part_of,
    wordpiece_lowercase,
)

_WORDPIECE, _BPE = "WordPiece", "BPE"
_TOKENIZER, _VOCAB_JSON, _MERGES = "tokenizer.json", "vocab.json", "merges.txt"


class MosesBPE(NamedTuple):
    """Contents of the files that cut text by Moses and BPE."""

    steps: tuple[str, ...]
    """By name, before the cutting into units."""
    codes: str


@dataclass(frozen=True)
class Vocabulary:
    """What a text is cut into."""

    tokens: list[str]
    """In the order of their ids."""
    lowercase: bool = True
    """WordPiece: in lower case and without accents."""
    merges: list[tuple[str, str]] | None = None
    """Of GPT-2's BPE."""
    moses: MosesBPE | None = None

    @property
    def kind(self) -> str:
        """`moses`, `gpt2` or `wordpiece`."""
        if self.moses is not None:
            return "moses"
        return "wordpiece" if self.merges is None else "gpt2"


def vocabulary_of_model(folder: Path) -> Vocabulary:
    """What a folder of transformers cuts text into.

    Raises:
        CheckpointError: there is none, it is damaged, or it cuts text in a way that is not ours.
        OSError: a file cannot be read.
    """
    if (folder / _TOKENIZER).is_file():
        return _of_tokenizer_json(folder / _TOKENIZER)
    check_added_tokens(folder)
    if (folder / VOCABULARY).is_file():
        return _of_vocab_txt(folder)
    if (folder / _VOCAB_JSON).is_file() and (folder / _MERGES).is_file():
        check_byte_level(folder)
        path = folder / _VOCAB_JSON
        return Vocabulary(_in_order(read_object(path), path), merges=_merges(folder / _MERGES))
    moses = _of_moses(folder)
    if moses is not None:
        return moses
    raise UnusableCheckpointError(
        f"{folder} has no vocabulary: neither {_TOKENIZER}, nor {VOCABULARY}, nor {_VOCAB_JSON} "
        f"with {_MERGES}, nor {NAME} with {CODES} and {STEPS}"
    )


def vocabulary_of_data(folder: Path) -> Vocabulary | None:
    """What the text of a folder of data was cut into; None: it has no record of that.

    The tokens of an imported model are in its own order.

    Raises:
        CheckpointError: a file is damaged.
        TreatmentError: the record is.
    """
    files = unit_files_in(folder)
    if files.step == "apply_wordpiece":
        return Vocabulary(_of_vocab_txt(folder).tokens, lowercase=not files.cased)
    if files.step == "apply_gpt2_bpe":
        order = folder / GPT2_ORDER
        path = order if order.is_file() else folder / GPT2_ENCODER
        return Vocabulary(_in_order(read_object(path), path), merges=_merges(folder / GPT2_MERGES))
    return _of_moses(folder)


def gpt2_symbols() -> list[str]:
    """GPT-2's characters for the 256 bytes, in the order of its ids."""
    shown = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [*map(chr, shown), *(chr(0x100 + place) for place in range(256 - len(shown)))]


def gpt2_encoder(merges: list[tuple[str, str]]) -> dict[str, int]:
    """GPT-2's `encoder.json`: the bytes, then what each merge makes, then the end of a text."""
    units = [*gpt2_symbols(), *dict.fromkeys(left + right for left, right in merges)]
    return {unit: number for number, unit in enumerate([*units, "<|endoftext|>"])}


def _of_tokenizer_json(path: Path) -> Vocabulary:
    whole = read_object(path)
    model = part_of(whole, "model", path)
    kind = model.get("type", _BPE if "merges" in model else _WORDPIECE)
    vocabulary = dict(part_of(model, "vocab", path))
    listed = whole.get("added_tokens")
    added = listed if isinstance(listed, list) else []
    check_added_tokens(path.parent, added)
    for token in added:
        if isinstance(token, dict) and isinstance(token.get("content"), str):
            vocabulary.setdefault(token["content"], token.get("id"))
    tokens = _in_order(vocabulary, path)
    if kind == _WORDPIECE:
        return Vocabulary(tokens, wordpiece_lowercase(path.parent, whole))
    if kind == _BPE:
        check_byte_level(path.parent, whole)
        merges = model.get("merges")
        pairs = [_pair(merge, path) for merge in merges] if isinstance(merges, list) else []
        return Vocabulary(tokens, merges=pairs)
    raise UnusableCheckpointError(
        f"{path} is a tokenizer of kind {kind!r}; WordPiece and GPT-2's BPE are read"
    )


def _of_vocab_txt(folder: Path) -> Vocabulary:
    path = folder / VOCABULARY
    text = _text(path)
    tokens = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    if len(set(tokens)) < len(tokens):
        twice = next(token for place, token in enumerate(tokens) if token in tokens[:place])
        raise UnusableCheckpointError(f"{path} has {twice!r} twice")
    return Vocabulary(tokens, wordpiece_lowercase(folder))


def _of_moses(folder: Path) -> Vocabulary | None:
    """Tokens in fairseq's order."""
    from ..data.units.apply_bpe import read_codes

    dictionary = dictionary_in(folder)
    if dictionary is None or not all((folder / name).is_file() for name in (CODES, STEPS)):
        return None
    try:
        steps = read_line_steps(folder) or ()
        read_codes(folder / CODES)
        symbols = [symbol for symbol, _ in read_dictionary(dictionary).entries]
    except ValueError as error:
        raise UnusableCheckpointError(str(error)) from error
    tokens = [*FAIRSEQ_SYMBOLS, *symbols, MASK]
    if len(set(tokens)) < len(tokens):
        raise UnusableCheckpointError(
            f"{dictionary} has a symbol twice, or one that fairseq has itself"
        )
    unknown = [name for name in steps if name not in LINE_STEPS]
    if unknown:
        raise UnusableCheckpointError(
            f"{folder / STEPS}: no step {unknown[0]!r:.80}; the steps are {', '.join(LINE_STEPS)}"
        )
    return Vocabulary(tokens, moses=MosesBPE(steps, _text(folder / CODES)))


def _merges(path: Path) -> list[tuple[str, str]]:
    lines = _text(path).split("\n")
    return [_pair(line, path) for line in lines if line and not line.startswith("#version")]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UnusableCheckpointError(f"{path} is not UTF-8 text") from error


def _in_order(vocabulary: Mapping[Any, Any], path: Path) -> list[str]:
    """Tokens by their ids, which must be 0, 1, 2 ..."""
    tokens = [""] * len(vocabulary)
    for token, number in vocabulary.items():
        fits = isinstance(number, int) and 0 <= number < len(tokens) and isinstance(token, str)
        if not fits or not token or tokens[number]:
            raise UnusableCheckpointError(
                f"{path}: {token!r} has the id {number!r}; {len(tokens):,} tokens should have the "
                f"ids from 0 to {len(tokens) - 1:,}"
            )
        tokens[number] = token
    return tokens


def _pair(merge: Any, path: Path) -> tuple[str, str]:
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(p, str) for p in parts):
        raise UnusableCheckpointError(f"{path}: {merge!r} is no merge of two units")
    return parts[0], parts[1]
