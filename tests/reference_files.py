"""The authors' figures as safetensors: nested values of tensors and plain numbers, both ways.

    python tests/reference_files.py ../shared/reference tests/data

writes the files of ``tests/data`` anew.  Tensors go into the file as they are, equal ones once, and
the nesting and everything else into its metadata, as JSON.  To stay below 1 MB in all, gradients
of two of three models are kept as sketches, and of the optimizer's runs the first steps, with the
parameters after every fourth.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

# Name here -> name there.
SOURCES = {
    "tupe_a": "tupe/tupe_a.pt",
    "tupe_r": "tupe/tupe_r.pt",
    "tupe_r_prenorm": "tupe/tupe_r_prenorm.pt",
    "legacy_checkpoint": "tupe/legacy_checkpoint.pt",
    "legacy_checkpoint_expected": "tupe/legacy_checkpoint_expected.pt",
    "mfac": "mfac/mfac_f64.pt",
    "mfac_momentum_wd": "mfac/mfac_f64_momentum_wd.pt",
}
SKETCHED = ("tupe_a", "tupe_r_prenorm")  # tupe_r keeps its gradients whole
STEPS = {"mfac": 40, "mfac_momentum_wd": 48}  # the windows of 16 and 32 gradients go round
KEPT_EVERY = 4
TENSOR = "tensor"  # {"tensor": name}: a tensor in the metadata


def write(data: Any, path: Path) -> None:
    """Dicts, lists, tensors and plain values; a namespace becomes a dict."""
    tensors: dict[str, Tensor] = {}

    def described(value: Any) -> Any:
        if isinstance(value, Tensor):
            for name, known in tensors.items():
                if known.dtype is value.dtype and torch.equal(known, value):
                    return {TENSOR: name}
            name = str(len(tensors))
            tensors[name] = value.contiguous()
            return {TENSOR: name}
        if isinstance(value, argparse.Namespace):
            value = vars(value)
        if isinstance(value, dict):
            return {name: described(entry) for name, entry in value.items()}
        if isinstance(value, list | tuple):
            return [described(entry) for entry in value]
        return value

    structure = json.dumps(described(data), separators=(",", ":"))
    save_file(tensors, path, metadata={"structure": structure})


def read(path: Path) -> Any:
    """What :func:`write` was given."""
    with safe_open(path, "pt") as file:
        structure = json.loads(file.metadata()["structure"])

        def restored(value: Any) -> Any:
            if isinstance(value, list):
                return [restored(entry) for entry in value]
            if not isinstance(value, dict):
                return value
            if value.keys() == {TENSOR}:
                return file.get_tensor(value[TENSOR])
            return {name: restored(entry) for name, entry in value.items()}

        return restored(structure)


def sketch(gradient: Tensor) -> Tensor:
    """Length of a gradient, and its components along eight fixed directions: float64 ``(9,)``.

    No random numbers, which another release of torch might draw differently.
    """
    flat = gradient.double().flatten()
    place = torch.arange(1, len(flat) + 1, dtype=torch.float64)
    directions = torch.cos(torch.outer(torch.arange(1, 9, dtype=torch.float64).sqrt(), place))
    directions /= directions.norm(dim=1, keepdim=True)
    return torch.cat([flat.norm().view(1), directions @ flat])


def shortened(name: str, data: Any) -> Any:
    """What of the authors' file is kept."""
    if name in SKETCHED:
        grads = {key: sketch(grad) for key, grad in data["masked_lm_grads"].items()}
        return data | {"masked_lm_grads": grads, "sketched": True}
    if name in STEPS:
        after = [
            params if step % KEPT_EVERY == 0 else None
            for step, params in enumerate(data["params_after"][: STEPS[name]], start=1)
        ]
        return data | {"grads": data["grads"][: STEPS[name]], "params_after": after}
    return data


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder of the authors' files")
    parser.add_argument("destination", type=Path, help="folder of the figures")
    args = parser.parse_args(argv)
    for name, source in SOURCES.items():
        # The legacy checkpoint holds a pickled Namespace, and no other class.
        with torch.serialization.safe_globals([argparse.Namespace]):
            data = torch.load(args.source / source, map_location="cpu", weights_only=True)
        write(shortened(name, data), args.destination / f"{name}.safetensors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
