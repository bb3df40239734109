"""What fairseq needs to find in a checkpoint. It looks for it late, and in other words.

model              name -> tensor
cfg                part -> settings; or `args`, one flat namespace, before fairseq 0.11
extra_state        train_iterator (epoch, iterations_in_epoch), val_loss, best ...
optimizer_history  a list of starts; the last one's criterion, optimizer, schedule and updates
last_optimizer_state, task_state, criterion: may be absent
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from .errors import ForeignFileError, UnusableCheckpointError

MOST_SETTINGS = 100_000  # of a whole configuration; fairseq's has about 500
DEEPEST = 20

_PLAIN = (str, bytes, bool, int, float, complex, type(None), torch.dtype, torch.device)
_Path = Any


def check_contents(state: Any, path: _Path) -> None:
    """Refuse contents with which fairseq cannot work, and name what is missing or of another type.

    Raises:
        ForeignFileError: this is no checkpoint of fairseq.
        UnusableCheckpointError: it is one, and something in it cannot be used.
    """
    if not isinstance(state, Mapping):
        raise ForeignFileError(
            f"{path} is no checkpoint of fairseq-train: it holds a {type(state).__name__}"
        )
    if "model" not in state:
        tensors = [name for name, value in state.items() if isinstance(value, Tensor)]
        what = (
            f"weights alone ({len(tensors)} tensors, {tensors[0]} for one) and no settings"
            if tensors
            else f"no `model`, only {', '.join(map(str, list(state)[:5])) or 'nothing'}"
        )
        raise ForeignFileError(f"{path} is no checkpoint of fairseq-train: it holds {what}")
    _check_model(state["model"], path)
    for name in ("criterion", "task_state"):
        if not isinstance(state.get(name), (Mapping, type(None))):
            raise UnusableCheckpointError(_other_type(path, name, "named values", state[name]))
    _check_settings(state, path)
    _check_progress(state, path)


def _check_model(model: Any, path: _Path) -> None:
    if not isinstance(model, Mapping):
        raise UnusableCheckpointError(_other_type(path, "model", "named tensors", model))
    for name, value in model.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UnusableCheckpointError(_other_type(path, f"model.{name}", "a tensor", value))
        if value.layout is not torch.strided or value.device.type == "meta":
            raise UnusableCheckpointError(
                f"{path}: model.{name} is a tensor without numbers, or a sparse one"
            )


def check_finite(weights: Mapping[str, Tensor], path: _Path) -> None:
    """Refuse weights that are not numbers.

    Raises:
        UnusableCheckpointError: it names the first of them.
    """
    for name, value in weights.items():
        if not value.is_floating_point() or not value.numel():
            continue
        # The two extremes show it, and need no memory; `isfinite` needs a copy of the tensor.
        if not all(torch.isfinite(extreme) for extreme in value.aminmax()):
            bad = int((~torch.isfinite(value)).sum())
            raise UnusableCheckpointError(
                f"{path}: {bad:,} of the {value.numel():,} numbers of {name} are not finite: take "
                "an earlier checkpoint"
            )


def _check_settings(state: Mapping[str, Any], path: _Path) -> None:
    cfg, args = state.get("cfg"), state.get("args")
    if cfg is None and args is None:
        raise UnusableCheckpointError(
            f"{path} has neither `cfg` nor `args`: the settings of its model are missing"
        )
    if args is not None and not isinstance(args, argparse.Namespace):
        raise UnusableCheckpointError(_other_type(path, "args", "a namespace", args))
    if cfg is not None:
        if not isinstance(cfg, Mapping):
            raise UnusableCheckpointError(_other_type(path, "cfg", "settings by part", cfg))
        for part in ("model", "task", "criterion", "checkpoint", "common", "dataset"):
            settings = cfg.get(part)
            if settings is None and args is None and part in ("model", "task"):
                raise UnusableCheckpointError(f"{path} lacks the settings cfg.{part}")
            if settings is not None and not isinstance(settings, (Mapping, argparse.Namespace)):
                raise UnusableCheckpointError(
                    _other_type(path, f"cfg.{part}", "settings", settings)
                )
    for name in ("cfg", "args"):
        check_plain(state.get(name), path, name)


def check_plain(value: Any, path: _Path, name: str) -> None:
    """Refuse settings that are not plain, or that grow when they are copied.

    A file of a hundred bytes can hold a list of lists of one list ... with 10^30 entries, and
    omegaconf's `${...}` can do the same; fairseq writes neither.

    Raises:
        UnusableCheckpointError: it names the place.
    """
    left = [(name, value, 0)]
    seen = 0
    while left:
        place, one, depth = left.pop()
        seen += 1
        if seen > MOST_SETTINGS or depth > DEEPEST:
            raise UnusableCheckpointError(
                f"{path}: {name} has more than {MOST_SETTINGS:,} settings, or more than {DEEPEST} "
                "levels of them: no configuration of fairseq"
            )
        if isinstance(one, argparse.Namespace):
            one = vars(one)
        if isinstance(one, Mapping):
            for key, item in one.items():
                if not isinstance(key, (str, int, float, bool)):
                    raise UnusableCheckpointError(_other_type(path, f"{place}: {key}", "text", key))
                left.append((f"{place}.{key}", item, depth + 1))
        elif isinstance(one, (list, tuple, set, frozenset)):
            left.extend((place, item, depth + 1) for item in one)
        elif isinstance(one, str) and "${" in one:
            raise UnusableCheckpointError(
                f"{path}: {place} refers to other settings ({one[:40]!r}); fairseq writes values"
            )
        elif not isinstance(one, _PLAIN):
            raise UnusableCheckpointError(_other_type(path, place, "a plain value", one))


def _check_progress(state: Mapping[str, Any], path: _Path) -> None:
    """How far training came; older checkpoints have the same in other places."""
    if "optimizer_history" not in state:
        _need(state, ("optimizer", "best_loss"), path, "")
    else:
        history = state["optimizer_history"]
        if not isinstance(history, list) or not history:
            raise UnusableCheckpointError(_other_type(path, "optimizer_history", "a list", history))
        if not all(isinstance(start, dict) for start in history):
            raise UnusableCheckpointError(_other_type(path, "optimizer_history", "a list", history))
        last = history[-1]
        _check_types(
            last, {"num_updates": int, "lr_scheduler_state": dict}, path, "optimizer_history[-1]."
        )
        if "lr_scheduler_state" not in last:
            _need(last, ("best_loss",), path, "optimizer_history[-1].")
        if last.get("num_updates", 0) < 0:
            raise UnusableCheckpointError(f"{path}: num_updates is {last['num_updates']}")
    if "extra_state" not in state:
        _need(state, ("epoch", "batch_offset", "val_loss"), path, "")
        return
    extra = state["extra_state"]
    if not isinstance(extra, dict):
        raise UnusableCheckpointError(_other_type(path, "extra_state", "named values", extra))
    _check_types(extra, {"epoch": int, "batch_offset": int}, path, "extra_state.")
    if not isinstance(extra.get("train_iterator"), (dict, type(None))):
        place = "extra_state.train_iterator"
        raise UnusableCheckpointError(
            _other_type(path, place, "named values", extra["train_iterator"])
        )
    for name in ("previous_training_time", "best", "val_loss"):
        if not _is_number(extra.get(name)):
            raise UnusableCheckpointError(
                _other_type(path, f"extra_state.{name}", "a number", extra[name])
            )
    if extra.get("train_iterator") is not None:
        where = "extra_state.train_iterator."
        _need(extra["train_iterator"], ("epoch",), path, where)
        _check_types(
            extra["train_iterator"],
            {"epoch": int, "iterations_in_epoch": int, "sentences": dict},
            path,
            where,
        )
        _check_sentences(extra["train_iterator"].get("sentences"), path, f"{where}sentences")
    patience = extra.get("patience", {})
    if not isinstance(patience, dict) or not patience.keys() <= {"best", "num_runs"}:
        raise UnusableCheckpointError(
            _other_type(path, "extra_state.patience", "best and num_runs", patience)
        )
    for name, value in patience.items():
        if not isinstance(value, (int, float, type(None))):
            raise UnusableCheckpointError(
                _other_type(path, f"extra_state.patience.{name}", "a number", value)
            )


def _check_sentences(sentences: Any, path: _Path, where: str) -> None:
    """Which of them the epoch has used up, as compat/resumed_epoch.py writes it."""
    if sentences is None:
        return
    _need(sentences, ("data", "batches", "batches_used", "seen", "seen_before"), path, f"{where}.")
    _check_types(sentences, {"batches_used": int}, path, f"{where}.")
    for name in ("seen", "seen_before"):
        bits = sentences[name]
        if bits is None and name == "seen_before":
            continue
        if not isinstance(bits, Tensor) or bits.dtype is not torch.uint8 or bits.dim() != 1:
            raise UnusableCheckpointError(_other_type(path, f"{where}.{name}", "bits", bits))


def _is_number(value: Any) -> bool:
    """Of several workers fairseq saves the mean training time, which is a tensor."""
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex()
    return isinstance(value, (int, float, type(None)))


def _need(values: Mapping[str, Any], names: tuple[str, ...], path: _Path, where: str) -> None:
    missing = [f"{where}{name}" for name in names if name not in values]
    if missing:
        what = "optimizer_history" if "best_loss" in names and not where else ", ".join(missing)
        raise UnusableCheckpointError(
            f"{path} lacks {what}, without which fairseq does not load it"
        )


def _check_types(
    values: Mapping[str, Any], types: Mapping[str, type], path: _Path, where: str
) -> None:
    for name, wanted in types.items():
        value = values.get(name, wanted())
        if not isinstance(value, wanted) or isinstance(value, bool):
            kind = "a whole number" if wanted is int else "named values"
            raise UnusableCheckpointError(_other_type(path, f"{where}{name}", kind, value))


def tensors_in(state: Any) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of nested containers with the names that lead to it; each container once."""
    left, seen = [("", state)], set()
    while left:
        name, value = left.pop()
        if isinstance(value, Tensor):
            yield name.lstrip("."), value
            continue
        if isinstance(value, argparse.Namespace):
            value = vars(value)
        if not isinstance(value, (Mapping, list, tuple, set, frozenset)) or id(value) in seen:
            continue
        seen.add(id(value))
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        left.extend((f"{name}.{key}", item) for key, item in items)


def _other_type(path: _Path, place: str, wanted: str, value: Any) -> str:
    return f"{path}: {place} should be {wanted}, and is a {type(value).__name__}"
