"""From a file to tensors and plain containers: nothing in it is run, and nothing of it is believed.

torch's safe loading decides what may be built. It says little of files that are no checkpoints, and
reads changed bytes without a word, so the container is checked before: what kind of file it is, and
of a zip file sizes, compression and checksums.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import pickle
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator
from typing import Any, BinaryIO

import torch
from torch import Tensor

from .contents import check_contents, tensors_in
from .errors import (
    CheckpointError,
    DamagedCheckpointError,
    ForeignFileError,
    UnsafeCheckpointError,
    in_one_line,
)
from .file_kind import foreign_kind, refuse_what_is_no_file, zip_kind
from .stored_objects import stand_in, without_records

# What fairseq's own checkpoints hold beside tensors and plain containers. `argparse.Namespace` is
# a bag of attributes: building one runs no code. What else may be in one is in stored_objects.py.
ALLOWED_CLASSES = (argparse.Namespace,)

_BLOCK = 1 << 20
_FREE_EXPANSION = 1 << 20  # elements that a tensor may have without storing them


def read_checkpoint(
    source: str | os.PathLike[str] | BinaryIO, map_location: Any = "cpu"
) -> dict[str, Any]:
    """A checkpoint of fairseq as it lies in the file, with all that fairseq asks of one.

    Raises:
        CheckpointError: the file is missing, something else, damaged, unsafe or incomplete.
        OSError: it cannot be read.
    """
    state = load(source, map_location)
    check_contents(state, _name_of(source))
    return state


def read_lazily(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What is in a checkpoint; tensors stay in the file until they are used, nothing is checked.

    Raises:
        CheckpointError, OSError: as above.
    """
    refuse_what_is_no_file(path)
    with open(path, "rb") as file:
        state = _torch_load(path, file, path, map_location="cpu", mmap=True)
    if not isinstance(state, dict):
        raise ForeignFileError(f"{path} is no checkpoint: it holds a {type(state).__name__}")
    return state


def check_readable(path: str | os.PathLike[str]) -> None:
    """Find out whether `read_checkpoint` would take the file, without having it in memory.

    Raises:
        CheckpointError, OSError: as above.
    """
    with _opened(path) as (file, _):
        _check_container(file, path)
    state = read_lazily(path)
    _check_tensors(state, path)
    check_contents(state, path)


def load(source: str | os.PathLike[str] | BinaryIO, map_location: Any = None) -> Any:
    """`torch.load` of tensors, plain containers and `ALLOWED_CLASSES`, from a path or a file.

    Raises:
        CheckpointError: the file is missing, something else, damaged or unsafe.
        OSError: it cannot be read.
    """
    with _opened(source) as (file, path):
        _check_container(file, path)
        state = _torch_load(file, file, path, map_location=map_location)
    _check_tensors(state, path)
    return state


def _torch_load(source: Any, file: BinaryIO, path: Any, **options: Any) -> Any:
    allowed: dict[str, Any] = {}
    while True:
        entries: list[Any] = [
            *ALLOWED_CLASSES,
            *((stand_in, name) for name, stand_in in allowed.items()),
        ]
        with torch.serialization.safe_globals(entries):
            try:
                state = torch.load(source, weights_only=True, **options)
                return without_records(state, path) if allowed else state
            except CheckpointError:
                raise
            except Exception as error:  # the file's fault, unless the machine's
                if _is_of_the_machine(error):
                    raise
                more = _readable_classes(error, file, allowed)
                if not more:
                    raise _explained(error, file, path) from error
                allowed |= more
        file.seek(0)


@contextlib.contextmanager
def _opened(source: str | os.PathLike[str] | BinaryIO) -> Iterator[tuple[BinaryIO, Any]]:
    """The open file, and what to call it."""
    if not isinstance(source, (str, os.PathLike)):
        yield source, _name_of(source)
        return
    refuse_what_is_no_file(source)
    with open(source, "rb") as file:
        yield file, source


def _name_of(source: Any) -> Any:
    is_path = isinstance(source, (str, os.PathLike))
    return source if is_path else getattr(source, "name", "the checkpoint")


def _check_container(file: BinaryIO, path: Any) -> None:
    """Refuse what torch did not write, and what is no longer as torch wrote it."""
    found = foreign_kind(file)
    if found is None and zipfile.is_zipfile(file):
        with _damage_named(file, path), zipfile.ZipFile(file) as archive:
            found = zip_kind(archive)
            if found is None:
                _check_records(archive, path, size=_size(file))
    file.seek(0)
    if found is not None:
        kind, advice = found
        raise ForeignFileError(f"{path} is no checkpoint, it is {kind}: {advice}")


def _check_records(archive: zipfile.ZipFile, path: Any, *, size: int) -> None:
    """Compare each record with its checksum. torch stores records as they are, so they are bounded
    by the file."""
    records = archive.infolist()
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise ForeignFileError(
            f"{path} is no checkpoint, it is a compressed zip file, unlike those of torch: "
            "unpack it and give the *.pt file in it"
        )
    if sum(record.file_size for record in records) > size:
        raise DamagedCheckpointError(_damaged(path, size))
    for record in records:
        with archive.open(record) as stream:  # compares the checksum at its end
            while stream.read(_BLOCK):
                pass


@contextlib.contextmanager
def _damage_named(file: BinaryIO, path: Any) -> Iterator[None]:
    try:
        yield
    except CheckpointError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        LookupError,
        NotImplementedError,
        OSError,
        OverflowError,
        RuntimeError,
        ValueError,
    ) as error:
        if _is_of_the_machine(error):
            raise
        raise DamagedCheckpointError(_damaged(path, _size(file), in_one_line(error))) from error


def _is_of_the_machine(error: Exception) -> bool:
    """Whether an error says nothing about the file; a wrong place in it is an invalid argument."""
    return isinstance(error, OSError) and error.errno != errno.EINVAL


def _explained(error: Exception, file: BinaryIO, path: Any) -> CheckpointError:
    """Whether safe loading refused a class, or could not make sense of the bytes."""
    names = _foreign_classes(error, file)
    if not names:
        return DamagedCheckpointError(_damaged(path, _size(file)))
    return UnsafeCheckpointError(
        f"checkpoint {path} was not loaded: it holds {', '.join(names)}, which is neither a tensor "
        "nor plain data; reading it could run code hidden in the file. If you trust whoever wrote "
        f"it, convert it once: `tupe convert-checkpoint --trust {path} OUT.pt`, then load OUT.pt"
    )


def _readable_classes(error: Exception, file: BinaryIO, known: Collection[str]) -> dict[str, Any]:
    """Names that safe loading does not know, and what may be read for each; none if one may not."""
    names = [name for name in _foreign_classes(error, file) if name not in known]
    found = {name: stand_in(name) for name in names}
    return found if all(value is not None for value in found.values()) else {}


def _foreign_classes(error: Exception, file: BinaryIO) -> list[str]:
    """Every class or function that the file wants and may not have; at worst the one in `error`."""
    if not isinstance(error, pickle.UnpicklingError):
        return []
    file.seek(0)
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    except Exception:  # not torch's zip format: before torch 1.6
        names = re.findall(r"GLOBAL ([\w.]+)", str(error))[:1]
        return [name if "." in name else f"builtins.{name}" for name in names]


def _check_tensors(state: Any, path: Any) -> None:
    """Refuse tensors that store almost nothing and become enormous when they are copied."""
    for name, tensor in tensors_in(state):
        if tensor.device.type == "meta" or tensor.layout is not torch.strided:
            continue  # they store what they have, or nothing; `check_contents` names them
        if tensor.numel() > _FREE_EXPANSION and tensor.numel() > _stored(tensor):
            raise DamagedCheckpointError(
                f"{path}: {name} would have {tensor.numel():,} numbers, of which the file holds "
                f"{_stored(tensor):,}"
            )


def _stored(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes() // tensor.element_size()


def _damaged(path: Any, size: int, detail: str = "") -> str:
    what = f"{path} ({size:,} bytes) is no checkpoint, or an incomplete one"
    return f"{what} ({detail})" if detail else what


def _size(file: BinaryIO) -> int:
    here = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(here)
    return size
