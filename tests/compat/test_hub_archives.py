"""An archive that `from_pretrained` is given writes nothing elsewhere, and is there afterwards."""

from __future__ import annotations

import contextlib
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from fairseq import checkpoint_utils, file_utils
from fairseq.data import Dictionary, encoders
from fairseq.models.roberta import RobertaModel, hub_interface

from tupe_plugin.checkpoint.errors import (
    ForeignFileError,
    MissingDownloadError,
    UnsafeCheckpointError,
)
from tupe_plugin.compat.refused_job import raised_here


def archive(path: Path, *names: str, link: str = "") -> Path:
    with tarfile.open(path, "w:gz") as made:
        for name in names:
            member = tarfile.TarInfo(name)
            if link:
                member.type, member.linkname = tarfile.SYMTYPE, link
            made.addfile(member)
    return path


def test_a_file_of_the_user_is_left_alone(tmp_path: Path) -> None:
    given = archive(tmp_path / "model.tar.gz", "m/model.pt", "m/../../outside")
    before = given.read_bytes()
    with pytest.raises(ForeignFileError, match=r"model\.tar\.gz is not a folder: unpack it"):
        RobertaModel.from_pretrained(str(given))
    assert given.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.tar.gz"]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDownloadError, match=r"^there is no folder \S+/misspelt, and"):
        RobertaModel.from_pretrained(str(tmp_path / "misspelt"))
    path = str(tmp_path / "misspelt.pt")
    with pytest.raises(
        FileNotFoundError, match=r"^Model file not found: \S+/misspelt\.pt$"
    ) as error:
        checkpoint_utils.load_model_ensemble([path])
    assert raised_here(error.value)


@pytest.mark.parametrize(
    ("names", "link"),
    [
        (["m/model.pt", "m/../../outside"], ""),
        (["/outside"], ""),
        (["..a/model.pt", "..b/model.pt"], ""),
        (["m/model.pt"], "/outside"),
    ],
    ids=str,
)
def test_a_download_is_unpacked_if_it_stays_inside(
    names: list[str], link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = archive(tmp_path / "cached.gz", *names, link=link)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(file_utils.tempfile, "mkdtemp", lambda: str(tmp_path / "temporary"))
    monkeypatch.setattr(file_utils, "cached_path", lambda *_, **__: str(cached))
    with pytest.raises(UnsafeCheckpointError, match="was not unpacked: its member"):
        file_utils.load_archive_file("https://example.org/model.tar.gz")
    assert not any((tmp_path / "temporary").iterdir())
    archive(cached, "m/model.pt", "m/dict.txt")
    unpacked = file_utils.load_archive_file("https://example.org/model.tar.gz")
    assert sorted(path.name for path in Path(unpacked).iterdir()) == ["dict.txt", "model.pt"]


def test_what_a_default_bpe_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "requests", None)
    monkeypatch.setattr(file_utils, "PYTORCH_FAIRSEQ_CACHE", str(tmp_path))
    with pytest.raises(MissingDownloadError) as refused:
        encoders.build_bpe("gpt2")
    assert "encoder.json cannot be downloaded (the package requests is missing): `pip" in str(
        refused.value
    )


@pytest.mark.parametrize(
    ("bpe", "units", "steps", "why"),
    [
        ("gpt2", "the man@@ .", None, "has units such as 'the': every word would be <unk>"),
        ("gpt2", "262 5 mad 13", None, None),
        ("gpt2", "262 5 13", "apply_gpt2_bpe", None),
        ("fastbpe", "the man@@ .", "tokenize_words", r"is not all .* \(tokenize_words\)"),
        (None, "the man@@ .", "tokenize_words", None),
    ],
)
def test_text_that_would_be_treated_in_another_way_is_refused(
    bpe: str | None, units: str, steps: str | None, why: str | None, tmp_path: Path
) -> None:
    dictionary = Dictionary()
    for unit in [*units.split(), "<mask>"]:
        dictionary.add_symbol(unit)
    if steps is not None:
        (tmp_path / "cleaning.txt").write_text(f"{steps}\n")
    cfg = SimpleNamespace(bpe=bpe and SimpleNamespace(_name=bpe))
    data = SimpleNamespace(data=f"{tmp_path}:elsewhere")
    task = SimpleNamespace(source_dictionary=dictionary, cfg=data)
    found = contextlib.nullcontext()
    if why is not None:
        found = pytest.raises(ValueError, match=rf"{why}\. Use tupe_plugin\.TupeModel")
    with found, mock.patch.object(hub_interface.encoders, "build_bpe"):
        hub_interface.RobertaHubInterface(cfg, task, None)
