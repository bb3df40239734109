"""Cut words into byte-pair-encoding units, `@@` at the end of every unit but a word's last.

The rules (merges) come from a "codes" file as subword-nmt and fastBPE write it, so the authors'
`bpe-code` can be used as it is. The merging is done by Hugging Face `tokenizers` (Rust).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tokenizers import models

from ..text.protected_words import PROTECTED_WORDS

END_OF_WORD = "</w>"
CONTINUED = "@@"
_UNKNOWN = "<unk>"
_CACHED_WORDS = 1_000_000


class BadCodesError(ValueError):
    """A codes file that cannot be used; the message names the file and the line."""


def read_codes(path: Path) -> list[tuple[str, str]]:
    """The merges, first learned first.

    Lines are `left right` (subword-nmt, after `#version: 0.2`) or `left right count` (fastBPE).
    A byte order mark, as editors of Windows put it in front, is no part of the first.

    Raises:
        BadCodesError: a malformed line; no merge at all; or the format of subword-nmt 0.1, which
            has `</w>` as a unit of its own.
    """
    merges = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        fields = line.rstrip("\r").split(" ")
        if line.startswith("#version") or fields == [""]:
            continue
        if len(fields) not in (2, 3) or not all(fields):
            raise BadCodesError(
                f"{path}:{number}: expected 'left right' or 'left right count', found {line!r}"
            )
        if END_OF_WORD in fields[:2]:
            raise BadCodesError(
                f"{path}:{number}: '{END_OF_WORD}' as a unit of its own is the format of "
                f"subword-nmt 0.1; learn the codes again with a current version"
            )
        merges.append((fields[0], fields[1]))
    if not merges:
        raise BadCodesError(f"{path}: no merge found; is it a BPE codes file?")
    return merges


class BytePairEncoder:
    """`encoder(line)` -> the line in BPE units.

    Characters that no merge mentions stay as they are, and words in `PROTECTED_WORDS` are not cut.
    """

    def __init__(self, merges: list[tuple[str, str]]) -> None:
        first_wins = list(dict.fromkeys(merges))
        units = dict.fromkeys([_UNKNOWN])
        for left, right in first_wins:
            units.update(dict.fromkeys([left, right, left + right]))
        vocabulary = {unit: index for index, unit in enumerate(units)}
        self._model = models.BPE(
            vocab=vocabulary,
            merges=first_wins,
            end_of_word_suffix=END_OF_WORD,
            unk_token=_UNKNOWN,
            fuse_unk=False,
        )
        self._units_of = _Cache(self._encode).__getitem__

    def __call__(self, line: str) -> str:
        return " ".join(map(self._units_of, line.split()))

    def _encode(self, word: str) -> str:
        if word in PROTECTED_WORDS:
            return word
        tokens = self._model.tokenize(word)
        pieces = [token.value for token in tokens]
        if _UNKNOWN in pieces:
            # A character that no merge mentions has no name of its own: take the slices of the
            # word, not the names of the units. Offsets count bytes.
            raw = word.encode("utf-8")
            pieces = [raw[slice(*token.offsets)].decode("utf-8") for token in tokens]
        else:
            pieces[-1] = pieces[-1].removesuffix(END_OF_WORD)
        return f"{CONTINUED} ".join(pieces)


class _Cache(dict[str, str]):
    """Word -> its units: a dictionary that fills itself is looked up without a call of Python's."""

    def __init__(self, encode: Callable[[str], str]) -> None:
        super().__init__()
        self._encode = encode

    def __missing__(self, word: str) -> str:
        if len(self) >= _CACHED_WORDS:
            self.clear()
        self[word] = units = self._encode(word)
        return units
