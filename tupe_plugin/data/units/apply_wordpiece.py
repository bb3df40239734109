"""Cut words into WordPiece units of a BERT `vocab.txt`, `##` before every unit but a word's first.

The fairseq dictionary of a vocabulary has the units in BERT's order, less the specials, which
fairseq has itself and puts first:

    BERT     [CLS]   [PAD]   [SEP]   [UNK]   [MASK]
    fairseq  <s>     <pad>   </s>    <unk>   <mask> (the masked-LM task adds it as the last)

The text treatment is BERT's own (control characters, lower case, accents, Chinese characters
apart), so that the units are those that the checkpoint was trained on. Hugging Face `tokenizers`
does it.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

SPECIALS = {
    "[CLS]": "<s>",
    "[PAD]": "<pad>",
    "[SEP]": "</s>",
    "[UNK]": "<unk>",
    "[MASK]": "<mask>",
}
_LONGEST_WORD = 100  # characters; BERT's: a longer word is one [UNK]


class BadVocabularyError(ValueError):
    """A vocabulary that cannot be used; the message names the file and the line."""


def read_vocabulary(path: Path) -> list[str]:
    """The units in order.

    Raises:
        BadVocabularyError: a unit twice, an empty one, one with a space, or no `[UNK]`.
    """
    units = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    seen: set[str] = set()
    for number, unit in enumerate(units, start=1):
        unit = unit.removesuffix("\r")
        if not unit or unit.split() != [unit]:
            raise BadVocabularyError(f"{path}:{number}: expected one unit, found {unit!r}")
        if unit in seen:
            raise BadVocabularyError(f"{path}:{number}: {unit!r} for the second time")
        seen.add(unit)
    if "[UNK]" not in seen:
        raise BadVocabularyError(f"{path}: no [UNK]; is it a BERT vocab.txt?")
    return [unit.removesuffix("\r") for unit in units]


class WordPieceEncoder:
    """`encoder(line)` -> the line in WordPiece units, separated by spaces.

    `lowercase` also removes accents, as BERT's uncased models do.
    """

    def __init__(self, units: list[str], *, lowercase: bool = True) -> None:
        vocabulary = {unit: index for index, unit in enumerate(units)}
        self._tokenizer = Tokenizer(
            models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=_LONGEST_WORD)
        )
        self._tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
        self._tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def __call__(self, line: str) -> str:
        units = self._tokenizer.encode(line, add_special_tokens=False).tokens
        return " ".join(["<unk>" if unit == "[UNK]" else unit for unit in units])


def dictionary_text(units: list[str]) -> str:
    """fairseq's `dict.txt`: a unit and a count a line; the counts are not used."""
    return "".join(f"{unit} 1\n" for unit in units if unit not in SPECIALS)
