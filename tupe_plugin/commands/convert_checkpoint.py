"""`tupe convert-checkpoint --trust IN OUT`: a checkpoint as tensors and plain containers.

Reading IN executes whatever code it holds, hence `--trust`. OUT can be read by anybody without
executing anything, as `fairseq-train --restore-file` does here.
"""

from __future__ import annotations

import argparse
import enum
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checkpoint.errors import in_one_line
from ..checkpoint.file_kind import refuse_what_is_no_file

SCALARS = (bool, int, float, complex, str, bytes, type(None))


class ConversionError(ValueError):
    """A value of the checkpoint has no plain form."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN", type=Path, help="the checkpoint to read")
    parser.add_argument("target", metavar="OUT", type=Path, help="the checkpoint to write")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="you trust whoever wrote IN: reading it executes any code hidden in it",
    )
    parser.add_argument(
        "--drop",
        metavar="KEY",
        action="append",
        default=[],
        help="leave out this entry, such as extra_state or args.tokenizer; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    convert(args.source, args.target, trust=args.trust, drop=tuple(args.drop))
    print(f"wrote {args.target}: tensors and plain containers only")
    return 0


def convert(source: Path, target: Path, *, trust: bool, drop: tuple[str, ...] = ()) -> None:
    """Write `source` to `target` as tensors and plain containers.

    Raises:
        ConversionError: `trust` is false, `source` cannot be unpickled, or holds a value without a
            plain form that `drop` does not name.
        CheckpointError: there is too little in `source` for fairseq to load what would be written.
        OSError: a file cannot be read or written.
    """
    import torch

    from ..checkpoint.contents import check_contents
    from ..checkpoint.write import write_checkpoint

    if not trust:
        raise ConversionError(
            f"reading {source} executes any code hidden in it; "
            "if you trust whoever wrote it, say so with --trust"
        )
    refuse_what_is_no_file(source)
    if target.exists():
        raise ConversionError(f"{target} exists already; give the name of a new file")
    try:
        state = torch.load(source, map_location="cpu", weights_only=False)
    except Exception as error:  # it may run any code, and damaged bytes raise anything
        raise ConversionError(f"{source} cannot be unpickled: {in_one_line(error)}") from error
    plain = to_plain(state, drop=drop)
    check_contents(plain, source)
    write_checkpoint(target, plain)


def to_plain(value: Any, *, drop: tuple[str, ...] = (), key: str = "") -> Any:
    """`value` as tensors, plain containers and `argparse.Namespace` (fairseq asks for that one).

    numpy numbers become Python's, numpy arrays tensors, enumerations their values, configurations
    of omegaconf and other mappings dictionaries. `key` is where `value` stands, dots between.

    Raises:
        ConversionError: it names the key and the class of the value which has no plain form.
    """
    import numpy as np
    import torch

    def inside(name: Any, item: Any) -> Any:
        return to_plain(item, drop=drop, key=f"{key}.{name}" if key else str(name))

    def kept(items: Any) -> Any:
        return (
            (name, item)
            for name, item in items
            if (f"{key}.{name}" if key else str(name)) not in drop
        )

    if isinstance(value, torch.Tensor):
        return (
            value.detach()
            if type(value) in (torch.Tensor, torch.nn.Parameter)
            else (_refuse(key, value))
        )
    if isinstance(value, enum.Enum):
        return inside("value", value.value)
    if type(value) in SCALARS or isinstance(value, (torch.dtype, torch.device, torch.Size)):
        return value
    if isinstance(value, np.generic):
        return inside("item", value.item())
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, argparse.Namespace):
        attributes = {name: inside(name, item) for name, item in kept(vars(value).items())}
        return argparse.Namespace(**attributes)
    if isinstance(value, Mapping):  # includes omegaconf's DictConfig
        return {name: inside(name, item) for name, item in kept(value.items())}
    if isinstance(value, (list, tuple)) or type(value).__name__ == "ListConfig":
        items = [inside(position, item) for position, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, (set, frozenset)):
        return {inside("item", item) for item in value}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    for scalar in (bool, int, float, str):  # a class derived from one, such as a string of numpy
        if isinstance(value, scalar):
            return scalar(value)
    return _refuse(key, value)


def _refuse(key: str, value: Any) -> Any:
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    raise ConversionError(
        f"{key or 'the checkpoint'} is a {kind}, which has no plain form; "
        f"if it is not needed, leave it out with --drop {key}"
    )
