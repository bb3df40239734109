"""WordPiece units and the dictionary of a BERT vocabulary."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tupe_plugin.data.units.apply_wordpiece import (
    BadVocabularyError,
    WordPieceEncoder,
    dictionary_text,
    read_vocabulary,
)

BERT_VOCAB = Path(__file__).parents[3] / "shared" / "data" / "bert_vocab" / "vocab.txt"
UNITS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##do", "##ing", "do", ".", "e", "東"]


def greedy(word: str, units: set[str]) -> list[str]:
    """WordPiece as the BERT paper's code does it: the longest unit that fits, again and again."""
    pieces, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in units:
                break
        else:
            return ["<unk>"]
        pieces.append(piece)
        start = end
    return pieces


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Undoing.", "un ##do ##ing ."),
        ("DO\u200b do", "do do"),
        ("é", "e"),
        ("東東", "東 東"),
        ("dog do", "<unk> do"),
        ("", ""),
    ],
)
def test_before_and_after(before, after):
    assert WordPieceEncoder(UNITS)(before) == after


def test_cased_keeps_case_and_accents():
    encode = WordPieceEncoder(UNITS, lowercase=False)
    assert encode("do Do é") == "do <unk> <unk>"


def test_equals_the_greedy_reference():
    rng = random.Random(3)
    units = ["".join(rng.choices("abc", k=rng.randint(1, 3))) for _ in range(15)]
    vocabulary = list(dict.fromkeys(["[UNK]", *units, *("##" + unit for unit in units[::2])]))
    encode = WordPieceEncoder(vocabulary)
    for _ in range(500):
        word = "".join(rng.choices("abc", k=rng.randint(1, 9)))
        assert encode(word).split() == greedy(word, set(vocabulary))


@pytest.mark.skipif(not BERT_VOCAB.is_file(), reason="../shared/data/bert_vocab is absent")
def test_the_real_vocabulary():
    units = read_vocabulary(BERT_VOCAB)
    assert len(units) == 30_522
    encode = WordPieceEncoder(units)
    assert encode("Embeddings of unaffable Zürich, 1999.") == (
        "em ##bed ##ding ##s of una ##ffa ##ble zurich , 1999 ."
    )
    known = set(units)
    for word in ("characteristically", "xylophonist", "antidisestablishmentarianism"):
        assert encode(word).split() == greedy(word, known)


def test_the_dictionary_has_the_units_after_fairseqs_own(tmp_path):
    from fairseq.data import Dictionary

    (tmp_path / "dict.txt").write_text(dictionary_text(UNITS), "utf-8")
    words = Dictionary.load(str(tmp_path / "dict.txt"))
    assert words.symbols == ["<s>", "<pad>", "</s>", "<unk>", *UNITS[5:]]
    ids = words.encode_line(WordPieceEncoder(UNITS)("undo dog"), add_if_not_exist=False)
    assert ids.tolist() == [4, 5, words.unk(), words.eos()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[UNK]\na\na\n", r"vocab\.txt:3: 'a' for the second time"),
        ("[UNK]\n\na\n", r"vocab\.txt:2: expected one unit, found ''"),
        ("[UNK]\na b\n", r"vocab\.txt:2: expected one unit, found 'a b'"),
        ("a\nb\n", r"vocab\.txt: no \[UNK\]; is it a BERT vocab\.txt"),
    ],
)
def test_bad_vocabularies_name_file_and_line(tmp_path, text, message):
    (tmp_path / "vocab.txt").write_text(text, "utf-8")
    with pytest.raises(BadVocabularyError, match=message):
        read_vocabulary(tmp_path / "vocab.txt")


def test_a_file_of_windows(tmp_path):
    (tmp_path / "vocab.txt").write_bytes(b"\xef\xbb\xbf[UNK]\r\na\r\n")
    assert read_vocabulary(tmp_path / "vocab.txt") == ["[UNK]", "a"]
