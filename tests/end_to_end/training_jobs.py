"""The small pre-training and fine-tuning jobs of these tests, and how to read what they leave."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch

USER_DIR = Path(__file__).resolve().parents[2] / "tupe_plugin"

SMALL_TUPE_R = (
    *("--arch", "tupe_tiny", "--rel-pos", "--encoder-layers", 2, "--encoder-embed-dim", 16),
    *("--encoder-ffn-embed-dim", 32, "--encoder-attention-heads", 2, "--max-positions", 32),
)
EVERY_JOB = (
    *("--user-dir", USER_DIR, *SMALL_TUPE_R, "--batch-size", 8, "--num-workers", 0, "--seed", 5),
    *("--optimizer", "adam", "--adam-eps", 1e-6, "--weight-decay", 0.01, "--clip-norm", 1.0),
    *("--log-format", "json", "--log-interval", 1),
)
# 100 blocks of text: 13 batches, the last of them incomplete.
PRETRAINING = (
    *("--task", "masked_lm", "--criterion", "masked_lm", "--tokens-per-sample", 32),
    *("--sample-break-mode", "complete", "--lr", 0.01, "--lr-scheduler", "fixed"),
)
# 300 sentences: 38 batches, the last of them incomplete.
FINE_TUNING = (
    *("--task", "sentence_prediction", "--criterion", "sentence_prediction", "--num-classes", 2),
    *("--init-token", 0, "--separator-token", 2, "--lr", 0.005),
    *("--lr-scheduler", "warmup_ratio", "--warmup-ratio", 0.06),
)
NO_DROPOUT = (
    *("--dropout", 0, "--attention-dropout", 0, "--activation-dropout", 0),
    *("--pooler-dropout", 0),
)


def pretraining(data: Path, save_dir: Path, *options: object) -> list[str]:
    """Arguments of `fairseq-train`."""
    return list(map(str, (data, "--save-dir", save_dir, *EVERY_JOB, *PRETRAINING, *options)))


def fine_tuning(data: Path, save_dir: Path, *options: object) -> list[str]:
    """Arguments of `fairseq-train`."""
    return list(map(str, (data, "--save-dir", save_dir, *EVERY_JOB, *FINE_TUNING, *options)))


def running(folder: Path) -> list[str]:
    """Command lines of the programs at work with something in `folder`."""
    programs = psutil.process_iter(["cmdline"])
    commands = (" ".join(found.info["cmdline"] or ()) for found in programs)
    return [command for command in commands if str(folder) in command]


def logged(output: str, tag: str) -> list[dict[str, float]]:
    """What `--log-format json` tells under a tag: `train_inner`, `train`, or a validation set."""
    marker = f" | INFO | {tag} | "
    entries = []
    for line in output.splitlines():
        _, found, entry = line.partition(marker)
        if found:
            values = json.loads(entry)
            entries.append({key.removeprefix(f"{tag}_"): float(values[key]) for key in values})
    return entries


def losses(output: str, name: str = "loss") -> dict[int, float]:
    """Update -> training loss, or another number of that name."""
    return {int(entry["num_updates"]): entry[name] for entry in logged(output, "train_inner")}


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Everything in it, with torch's safe loading: fairseq's need no more than old options."""
    with torch.serialization.safe_globals([Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)


def training_state(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The part that decides how training goes on; not: clocks, paths, earlier starts."""
    extra = checkpoint["extra_state"]
    return {
        "model": checkpoint["model"],
        "optimizer": checkpoint["last_optimizer_state"],
        "schedule": checkpoint["optimizer_history"][-1],
        **{key: extra[key] for key in ("train_iterator", "val_loss", "best")},
    }


def differences(ours: Any, theirs: Any, name: str = "") -> Iterator[str]:
    """Names of the parts of two nested containers that are not the same, bit for bit."""
    if type(ours) is not type(theirs):
        yield f"{name}: {type(ours)} and {type(theirs)}"
    elif isinstance(ours, dict):
        if ours.keys() != theirs.keys():
            yield f"{name}: keys {sorted(ours.keys() ^ theirs.keys(), key=str)} only once"
        for key in ours.keys() & theirs.keys():
            yield from differences(ours[key], theirs[key], f"{name}.{key}")
    elif isinstance(ours, (list, tuple)):
        if len(ours) != len(theirs):
            yield f"{name}: {len(ours)} and {len(theirs)} entries"
        for index, (one, other) in enumerate(zip(ours, theirs, strict=False)):
            yield from differences(one, other, f"{name}[{index}]")
    elif isinstance(ours, torch.Tensor):
        if ours.dtype != theirs.dtype or not torch.equal(ours, theirs):
            yield name
    elif ours != theirs:
        yield f"{name}: {ours!r} and {theirs!r}"
