"""Archives and downloads of `from_pretrained`."""

from __future__ import annotations

import functools
import os
import tarfile
from pathlib import PurePosixPath
from typing import Any

from .checkpoint_package import checkpoint_module
from .module_view import ModuleView
from .refused_job import in_a_command

_OWN_STEP = {"gpt2": "apply_gpt2_bpe", "bert": "apply_wordpiece"}
"""fairseq's name of what cuts text into units -> that of preprocess/."""


def unpack_archives_in_their_place(file_utils: Any) -> None:
    """`from_pretrained("model.tar.gz")` writes outside of its folder, and removes the archive;
    `from_pretrained("misspelt")` ends in `TypeError: ... not NoneType`.

    Where: fairseq/file_utils.py:79 to 91: all members are extracted to where they say, and what
    was unpacked then takes the place of the archive. 63: what is not found is None.
    When: an archive of somebody else; a file of the user's own; no such folder.
    Fix: a file of the user's is left alone, and one line says to unpack it. A download is
    unpacked if every member stays inside. What is not found is named.
    """
    original = file_utils.load_archive_file

    @functools.wraps(original)
    def load_archive_file(archive_file: Any) -> Any:
        if os.path.lexists(archive_file) and not os.path.isdir(archive_file):
            raise checkpoint_module("errors").ForeignFileError(
                f"{archive_file} is not a folder: unpack it (`tar -xf`) and give the folder that "
                "has the checkpoint and its dictionary"
            )
        path = original(archive_file)
        if path is None:
            raise checkpoint_module("errors").MissingDownloadError(
                f"there is no folder {archive_file}, and fairseq knows no model of that name"
            )
        return path

    file_utils.load_archive_file = load_archive_file
    file_utils.tarfile = ModuleView(tarfile, open=_open_harmless)


def name_what_a_download_lacks(file_utils: Any) -> None:
    """`ModuleNotFoundError: No module named 'requests'` from `from_pretrained`.

    Where: fairseq/file_utils.py:297, for the files of GPT-2's BPE among others.
    When: `from_pretrained` without `bpe=`, which is then `gpt2`, and the package `requests` (which
    fairseq does not require) or the net is missing.
    Fix: one line says what was wanted, and what to do.
    """
    original = file_utils.get_from_cache

    @functools.wraps(original)
    def get_from_cache(url: str, cache_dir: Any = None) -> Any:
        try:
            return original(url, cache_dir)
        except (ImportError, OSError) as error:
            missing = error.name if isinstance(error, ImportError) else None
            why = f"the package {missing} is missing" if missing else type(error).__name__
            ways = [f"`pip install {missing}`"] if missing else []
            if in_a_command():
                ways.append("give the options of --bpe that name its files")
            elif "bpe" in url:
                ways.append(
                    "give from_pretrained the bpe= of the model's own data, or bpe=None where the "
                    "model is given numbers"
                )
            advice = f": {', or '.join(ways)}" if ways else ""
            raise checkpoint_module("errors").MissingDownloadError(
                f"{url} cannot be downloaded ({why}){advice}"
            ) from error

    file_utils.get_from_cache = get_from_cache


def refuse_units_that_are_not_those_of_the_dictionary(hub_interface: Any) -> None:
    """No message: `encode` and `fill_mask` of a model from `RobertaModel.from_pretrained` turn
    every word into `<unk>`, or some.

    Where: fairseq/models/roberta/model.py:364, whose `bpe` is `gpt2` unless one is given, and
    hub_interface.py:55, where text goes through `bpe` and nothing else.
    When: `dict.txt` has other units than the numbers of GPT-2's BPE, as that of preprocess/ has;
    the data's text went through more steps, as its `cleaning.txt` says.
    Fix: both are refused, and the error names what reads such a model.
    """
    original = hub_interface.RobertaHubInterface.__init__

    @functools.wraps(original)
    def __init__(self: Any, cfg: Any, task: Any, model: Any) -> None:
        dictionary = task.source_dictionary
        own = [unit for unit in dictionary.symbols[dictionary.nspecial :] if "<" not in unit]
        numbers = sum(unit.isdecimal() or unit.startswith("madeupword") for unit in own)
        bpe, steps = getattr(cfg.bpe, "_name", None), _steps(task)
        why = None
        if bpe == "gpt2" and 2 * numbers < len(own):
            why = (
                "gives numbers, and the dictionary of this model has units such as "
                f"{own[0]!r}: every word would be <unk>"
            )
        elif bpe is not None and steps not in ("", _OWN_STEP.get(bpe)):
            why = f"is not all that the text of this model's data went through ({steps})"
        if why is not None:
            raise ValueError(
                f"bpe={bpe!r} {why}. Use tupe_plugin.TupeModel.from_pretrained, or give bpe=None "
                "and ids"
            )
        original(self, cfg, task, model)

    hub_interface.RobertaHubInterface.__init__ = __init__


def _steps(task: Any) -> str:
    """What preprocess/ has recorded of the text, beside the dictionary."""
    try:
        folder, _, _ = task.cfg.data.partition(os.pathsep)
        with open(os.path.join(folder, "cleaning.txt"), encoding="utf-8") as file:
            return file.read().strip()
    except (AttributeError, OSError, UnicodeDecodeError):
        return ""


def _open_harmless(name: str, mode: Any) -> tarfile.TarFile:
    """An archive of files and folders, none of which would lie, or become, outside of its own.

    fairseq joins what the names begin with alike to a path, so that `..a` and `..b` are `..`.
    """
    archive: tarfile.TarFile = tarfile.open(name, mode)  # noqa: SIM115  -- fairseq closes it
    for member in archive.getmembers():
        path = PurePosixPath(member.name)
        inside = not path.is_absolute() and not any(part.startswith("..") for part in path.parts)
        if not inside or not (member.isfile() or member.isdir()):
            archive.close()
            raise checkpoint_module("errors").UnsafeCheckpointError(
                f"{name} was not unpacked: its member {member.name!r} is a link, or would be "
                "written outside of its folder"
            )
    if hasattr(tarfile, "data_filter"):  # not before Python 3.10.12
        archive.extraction_filter = tarfile.data_filter
    return archive
