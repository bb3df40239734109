"""What BitFit learned of a task, apart from the model that it was learned on.

    tuned model = base model, with the trained bias terms and the classification heads replaced

A delta is these tensors, with the roles of the bias terms, the sizes of the model, and a
fingerprint of everything that was frozen: SHA-256 over names, shapes and bytes. Training with
`--fp16` or `--bf16` rounds the frozen weights too, so the precision is recorded, and a delta is
applied to the base rounded in that way: the result equals the checkpoint of the training bit for
bit.
`delta_file.py` keeps it on disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..checkpoint.encoder_checkpoint import EncoderCheckpoint
from ..checkpoint.formats.our_names import HEADS
from ..core.bitfit import parse_roles
from ..core.encoder_family import BiasTerm
from ..core.views.tupe import TUPE

PRECISIONS = ("float32", "float16", "bfloat16")


class DeltaError(ValueError):
    """A delta that cannot be made or applied; the message says why."""


@dataclass(frozen=True)
class Delta:
    """What is replaced in the base model, and what that model must be."""

    tensors: dict[str, Tensor]
    roles: tuple[str, ...]
    sizes: dict[str, Any]
    """Of the base model."""
    parameters: int
    """Of the base model, beside its classification heads; the tied embedding counts once."""
    precision: str
    fingerprint: str
    config: dict[str, dict[str, Any]]
    """fairseq's configuration of model, task and criterion, without paths."""

    @property
    def num_biases(self) -> int:
        return sum(t.numel() for name, t in self.tensors.items() if not name.startswith(HEADS))


def make_delta(base: EncoderCheckpoint, tuned: EncoderCheckpoint) -> Delta:
    """The difference of two checkpoints.

    Raises:
        DeltaError: `tuned` does not come from `base` by training bias terms and heads alone.
    """
    terms = tuned.model.get("bitfit_terms")
    if terms is None:
        raise DeltaError(
            f"{tuned.path} was not fine-tuned with --bitfit-terms, so it differs from its base in "
            "everything: a delta would be as large as the model"
        )
    roles = parse_roles(terms)
    before, after = _frozen(base, roles), _frozen(tuned, roles)
    _check_sizes(base, sizes_of(tuned), name=tuned.path.name)
    _check_names(base, before, after, name=tuned.path.name)
    fewest = list(after)
    for precision in PRECISIONS:
        different = [
            key for key in after if not torch.equal(_rounded(before[key], precision), after[key])
        ]
        if not different:
            break
        fewest = min(fewest, different, key=len)
    else:
        raise DeltaError(
            f"{len(fewest)} of {len(after)} frozen tensors of {tuned.path.name} differ from "
            f"{base.path.name}, {fewest[0]} for one: it was fine-tuned from another checkpoint"
        )
    config = {part: dict(tuned.config.get(part, {})) for part in ("model", "task", "criterion")}
    config["task"]["data"] = ""  # a place on the machine where it was trained
    delta = Delta(
        tensors=_trained(tuned, roles),
        roles=roles,
        sizes=sizes_of(base),
        parameters=sum(
            t.numel() for k, t in base.weights.items() if _is_model(k) and k != base.tied
        ),
        precision=precision,
        fingerprint=fingerprint(after),
        config=config,
    )
    again = apply_delta(base, delta, name="the new delta")
    assert again.keys() == tuned.weights.keys()
    assert all(torch.equal(again[key], value) for key, value in tuned.weights.items())
    return delta


def apply_delta(base: EncoderCheckpoint, delta: Delta, *, name: str) -> dict[str, Tensor]:
    """The tuned model's parameters.

    Args:
        base: the checkpoint that fine-tuning began with.
        delta: what it learned.
        name: of the delta, for the error.

    Raises:
        DeltaError: `base` is another model.
    """
    _check_sizes(base, delta.sizes, name=name)
    frozen = _frozen(base, delta.roles)
    rounded = {key: _rounded(value, delta.precision) for key, value in frozen.items()}
    found = fingerprint(rounded)
    if found != delta.fingerprint:
        raise DeltaError(
            f"{base.path.name} has the sizes that {name} wants, but other weights (fingerprint of "
            f"the frozen ones: {found[:12]}, wanted {delta.fingerprint[:12]}): give the very "
            "checkpoint that fine-tuning began with"
        )
    weights = {
        key: _rounded(value, delta.precision).clone()
        for key, value in base.weights.items()
        if _is_model(key)
    }
    if base.tied is not None:
        weights[base.tied] = weights[base.word_embedding]  # stored once
    encoder, prefix = base.names.own(weights), base.names.prefix
    for term in _of_roles(base, delta.roles):
        _check_bias(prefix + term.name, term.of(encoder), delta, name=name)
        term.of(encoder).copy_(delta.tensors[prefix + term.name])  # a view of `weights`
    heads = {key: value for key, value in delta.tensors.items() if key.startswith(HEADS)}
    return {**weights, **heads}


def _check_bias(key: str, wanted: Tensor, delta: Delta, *, name: str) -> None:
    found = delta.tensors.get(key)
    if found is None or (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        is_there = "absent" if found is None else f"{found.dtype} {tuple(found.shape)}"
        raise DeltaError(
            f"{name} is damaged: {key} is {is_there}, and should be {tuple(wanted.shape)}"
        )


def sizes_of(checkpoint: EncoderCheckpoint) -> dict[str, Any]:
    """Family and sizes; files of before there were other families name none for tupe models."""
    family = checkpoint.names.family
    return checkpoint.sizes if family is TUPE else {"family": family.name, **checkpoint.sizes}


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and bytes, whatever the order."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        tensor = tensors[key].contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _is_model(key: str) -> bool:
    """Whether a parameter is of the model beside its classification heads."""
    return not key.startswith(HEADS)


def _of_roles(checkpoint: EncoderCheckpoint, roles: tuple[str, ...]) -> list[BiasTerm]:
    return [term for term in checkpoint.names.biases if term.role in roles]


def _trained(checkpoint: EncoderCheckpoint, roles: tuple[str, ...]) -> dict[str, Tensor]:
    """Bias terms of these roles, and the heads."""
    encoder, prefix = checkpoint.encoder, checkpoint.names.prefix
    biases = {prefix + term.name: term.of(encoder) for term in _of_roles(checkpoint, roles)}
    return biases | {k: value for k, value in checkpoint.weights.items() if not _is_model(k)}


def _frozen(checkpoint: EncoderCheckpoint, roles: tuple[str, ...]) -> dict[str, Tensor]:
    """Everything else."""
    encoder, names = checkpoint.encoder, checkpoint.names
    keys = {names.prefix + term.key for term in names.biases}
    biases = {
        names.prefix + term.name: term.of(encoder)
        for term in names.biases
        if term.role not in roles
    }
    return biases | {
        key: value
        for key, value in checkpoint.weights.items()
        if _is_model(key) and key not in keys
    }


def _rounded(tensor: Tensor, precision: str) -> Tensor:
    return tensor.to(getattr(torch, precision)).to(tensor.dtype)


def _check_sizes(base: EncoderCheckpoint, wanted: dict[str, Any], *, name: str) -> None:
    sizes, ours, theirs = sizes_of(base), base.names.family.name, wanted.get("family", TUPE.name)
    if ours != theirs:
        raise DeltaError(
            f"{base.path.name} has an encoder of the family {ours}, and {name} is of {theirs}"
        )
    different = [
        f"{size} {sizes[size]} in {base.path.name}, {value} in {name}"
        for size, value in wanted.items()
        if sizes.get(size) != value
    ]
    if different:
        raise DeltaError(f"{base.path.name} is a model of other sizes: {'; '.join(different)}")


def _check_names(
    base: EncoderCheckpoint, before: dict[str, Tensor], after: dict[str, Tensor], *, name: str
) -> None:
    for key in sorted(before.keys() | after.keys()):
        ours, theirs = (part[key].shape if key in part else None for part in (before, after))
        if ours != theirs:
            raise DeltaError(
                f"{base.path.name} is another model than {name}: {key} is "
                f"{_shape(ours)} in the former, {_shape(theirs)} in the latter"
            )


def _shape(shape: torch.Size | None) -> str:
    return "absent" if shape is None else str(tuple(shape))
