"""A delta on disk: a safetensors file; its metadata hold what is no tensor, and a checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..checkpoint.contents import check_finite
from ..checkpoint.file_kind import refuse_what_is_no_file
from ..core.bitfit import parse_roles
from .bitfit_delta import PRECISIONS, Delta, DeltaError, fingerprint

FORMAT = "tupe-delta 1"


def delta_bytes(delta: Delta) -> bytes:
    """The contents of a file for `read_delta`."""
    from safetensors.torch import save

    metadata = {
        "format": FORMAT,
        "bitfit_terms": ",".join(delta.roles),
        "sizes": json.dumps(delta.sizes),
        "parameters": str(delta.parameters),
        "precision": delta.precision,
        "frozen_sha256": delta.fingerprint,
        "config": json.dumps(delta.config),
    }
    tensors = {key: tensor.contiguous().clone() for key, tensor in delta.tensors.items()}
    return save(tensors, metadata={**metadata, "sha256": _checksum(metadata, tensors)})


def read_delta(path: Path) -> Delta:
    """Read what `delta_bytes` made.

    Raises:
        DeltaError: it is none.
    """
    from safetensors import SafetensorError, safe_open

    refuse_what_is_no_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, RuntimeError, TypeError, ValueError) as error:
        raise DeltaError(f"{path} is not a safetensors file, or is incomplete") from error
    if metadata.get("format") != FORMAT:
        raise DeltaError(f"{path} was not written by this version's `tupe delta save`")
    checksum = metadata.pop("sha256", None)  # the first ones had none
    if checksum is not None and checksum != _checksum(metadata, tensors):
        raise DeltaError(f"{path} is damaged: it is not as `tupe delta save` wrote it")
    try:
        delta = Delta(
            tensors=tensors,
            roles=parse_roles(metadata["bitfit_terms"]),
            sizes=dict(json.loads(metadata["sizes"])),
            parameters=int(metadata["parameters"]),
            precision=metadata["precision"],
            fingerprint=metadata["frozen_sha256"],
            config={part: dict(said) for part, said in json.loads(metadata["config"]).items()},
        )
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise DeltaError(f"{path} is damaged: what it says of itself cannot be read") from error
    if delta.precision not in PRECISIONS or delta.parameters < 1:
        raise DeltaError(f"{path} is damaged: what it says of itself cannot be")
    check_finite(tensors, path)
    return delta


def _checksum(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """Of everything in a delta file."""
    said = json.dumps(dict(metadata), sort_keys=True)
    return hashlib.sha256(f"{said}\n{fingerprint(tensors)}".encode()).hexdigest()
