"""`tupe data corpus` with units and options of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.preprocess.test_scripts import decoded
from tupe_plugin.data.corpus import make_corpus
from tupe_plugin.data.corpus_options import CorpusOptions, document_steps
from tupe_plugin.data.step_graph import StepError
from tupe_plugin.data.unit_options import UsageError, units_of

ALL_TEXT = {"min_letters": 0, "min_letter_share": 0.0, "workers": 1}


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    """A source and a text for validation."""
    paths = [tmp_path / "text", tmp_path / "valid"]
    paths[0].write_text("It is the theatre's play. The man left.\n\nA 1st.\n", "utf-8")
    paths[1].write_text("The play.\n", "utf-8")
    return paths


def test_wordpiece_with_another_dictionary(tmp_path: Path, texts: list[Path]) -> None:
    units = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "play", "."]
    (tmp_path / "vocab.txt").write_text("".join(f"{unit}\n" for unit in units), "utf-8")
    (tmp_path / "dict.txt").write_text("play 7\n. 3\nthe 1\n", "utf-8")
    files = {"vocab": tmp_path / "vocab.txt", "dict": tmp_path / "dict.txt"}
    options = CorpusOptions(tokenizer="wordpiece", valid=texts[1], **files, **ALL_TEXT)
    make_corpus(options, texts[:1], tmp_path / "out")
    data = tmp_path / "out" / "data-bin"
    assert (data / "dict.txt").read_bytes() == (tmp_path / "dict.txt").read_bytes()
    assert decoded(data / "valid", data / "dict.txt") == ["the play ."]
    # A second corpus takes all of it from the first.
    again = CorpusOptions(data_bin=data, valid=texts[1], **ALL_TEXT)
    make_corpus(again, texts[:1], tmp_path / "again")
    for name in ("dict.txt", "vocab.txt", "cleaning.txt", "train.bin", "valid.bin"):
        assert (tmp_path / "again" / "data-bin" / name).read_bytes() == (data / name).read_bytes()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tokenizer": "gpt2", "vocab": Path("v")}, "needs --vocab encoder.json, --bpe-codes"),
        ({"data_bin": Path("d"), "tokenizer": "moses"}, "the tokenizer is that of --data-bin"),
        ({"data_bin": Path("d"), "split_hyphens": True}, "--split-hyphens is for"),
        ({"skip": "apply_wordpiece", "tokenizer": "wordpiece", "vocab": Path("v")}, "left out"),
    ],
)
def test_options_that_do_not_go_together(given: dict[str, object], message: str) -> None:
    options = CorpusOptions(**given)
    with pytest.raises(UsageError, match=message):
        document_steps(options, units_of(options))


def test_a_step_of_perl_is_left_out_by_its_plain_name() -> None:
    options = CorpusOptions(tokenizer="perl", skip="normalize_punctuation,segment_sentences")
    assert document_steps(options, units_of(options)) == (
        *("filter_paragraphs", "replace_addresses", "clean_punctuation"),
        *("perl_remove_nonprinting", "perl_tokenize_words", "lowercase_text"),
        "merge_short_sentences",
    )


def test_nothing_left_is_said(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("I.\n\nII.\n", "utf-8")
    with pytest.raises(StepError, match="the step 'text' failed: nothing is left, all was dropped"):
        make_corpus(CorpusOptions(workers=1), [tmp_path / "text"], tmp_path / "out")
