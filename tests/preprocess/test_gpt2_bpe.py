"""GPT-2's BPE: the numbers that fairseq's own encoder gives, through glue.sh and for raw text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fairseq.data.encoders.gpt2_bpe_utils import get_encoder

from tests.preprocess.test_scripts import decoded, succeed, write_table
from tupe_plugin.checkpoint.tokenizer_files import gpt2_encoder
from tupe_plugin.data.corpus import make_corpus
from tupe_plugin.data.corpus_options import CorpusOptions
from tupe_plugin.data.treatment import read_treatment
from tupe_plugin.data.units.apply_gpt2_bpe import BadGPT2FilesError, GPT2Encoder

MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ġ", "a"), ("'", "s"), ("Ġ", "1")]
LINES = ["the  theatre's a 1st", " the", "naïve 東 €\u00a0!", "\t<mask> <s>", "", "a" * 300]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As `tupe import` writes it."""
    (tmp_path / "encoder.json").write_text(json.dumps(gpt2_encoder(MERGES)), "utf-8")
    merges = "".join(f"{left} {right}\n" for left, right in MERGES)
    (tmp_path / "vocab.bpe").write_text(f"#version: 0.2\n{merges}", "utf-8")
    (tmp_path / "cleaning.txt").write_text("apply_gpt2_bpe\n", "utf-8")
    numbers = "".join(f"{number} 1\n" for number in gpt2_encoder(MERGES).values())
    (tmp_path / "dict.txt").write_text(numbers, "utf-8")
    return tmp_path


def test_equals_fairseqs_own_encoder(folder: Path) -> None:
    files = (folder / "encoder.json", folder / "vocab.bpe")
    encode, theirs = GPT2Encoder(*files), get_encoder(*map(str, files))
    assert [encode(line) for line in LINES] == [
        " ".join(map(str, theirs.encode(line))) for line in LINES
    ]
    (folder / "encoder.json").write_text("[1]", "utf-8")
    with pytest.raises(BadGPT2FilesError, match=r"encoder\.json and .*vocab\.bpe are no BPE"):
        GPT2Encoder(*files)


def test_a_mask_takes_the_space_before_it(folder: Path) -> None:
    for name in ("encoder.json", "vocab.bpe", "cleaning.txt"):  # a byte order mark is no part
        file = folder / name
        file.write_text("\ufeff" + file.read_text("utf-8"), "utf-8")
    treatment = read_treatment(folder)
    assert treatment is not None
    the, space_the = (treatment([text])[0] for text in ("the", " the"))
    assert treatment.around_masks("the <mask> the") == f"{the} <mask> {space_the}"


def test_a_corpus_in_its_units(folder: Path) -> None:
    (folder / "vocab.json").write_text("{}", "utf-8")
    # Short sentences are joined before they are cut into units: a unit has the space before it.
    lines = ["It is the theatre's play. The man left.", "", "A 1st."]
    (folder / "text").write_text("\n".join(lines), "utf-8")
    (folder / "valid").write_text("The play.\n", "utf-8")
    all_text = {"min_letters": 0, "min_letter_share": 0.0, "workers": 1}
    options = CorpusOptions(data_bin=folder, valid=folder / "valid", **all_text)
    make_corpus(options, [folder / "text"], folder / "out")
    data = folder / "out" / "data-bin"
    for name in ("dict.txt", "encoder.json", "vocab.bpe", "vocab.json", "cleaning.txt"):
        assert (data / name).read_bytes() == (folder / name).read_bytes()
    treatment = read_treatment(data)
    assert treatment is not None
    assert decoded(data / "train", data / "dict.txt") == treatment(lines)


@pytest.mark.slow
def test_a_task_in_its_units(folder: Path) -> None:
    rows = ("label\ttext", "1\tthe theatre", "0\ta 1st")
    for name in ("train", "dev"):
        write_table(folder / "mine" / "news" / f"{name}.tsv", *rows)
    own = ("--format", "tsv", "--text-columns", "text", "--data-bin", folder)
    succeed("glue.sh", *own, folder / "mine", "news", folder / "out")
    data = folder / "out" / "news-bin"
    for place in (folder, data):
        treatment = read_treatment(place)
        assert treatment is not None
        units = treatment(["the theatre", "a 1st"])
        assert decoded(data / "input0" / "train", data / "input0" / "dict.txt") == units
