"""What can be wrong with a checkpoint, each in one line: the file, the fault, what to do."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message says which and why."""


class MissingCheckpointError(CheckpointError):
    """There is no file at the path."""


class ForeignFileError(CheckpointError):
    """The file is something else than a checkpoint of fairseq."""


class DamagedCheckpointError(CheckpointError):
    """The file was a checkpoint, and bytes of it are missing or have changed."""


class UnsafeCheckpointError(CheckpointError):
    """Reading the file, or building the model that it asks for, would need trust in its author."""


class UnusableCheckpointError(CheckpointError):
    """A whole checkpoint that lacks something, or is of another model than is wanted."""


class MissingDownloadError(CheckpointError):
    """A file beside the checkpoint, which is on the net, cannot be had."""


def in_one_line(error: BaseException) -> str:
    """The text of another library's error, or its class where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
