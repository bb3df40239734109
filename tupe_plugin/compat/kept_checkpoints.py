"""`--keep-best-checkpoints N` keeps the N best ones, whatever their scores are."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

from .checkpoint_package import checkpoint_module

UNSIGNED, SIGNED = r"(\d+\.?\d*)", r"(-?\d+\.?\d*)"  # a score in the name of a file


def keep_as_many_best_checkpoints_as_asked(checkpoint_utils: Any) -> None:
    """`--keep-best-checkpoints 3` keeps one, or two, or all of them.

    Where: fairseq/checkpoint_utils.py:84. A score must reach the worst one kept, even where fewer
    than N are; names are searched for scores without a sign; equal scores may get equal names.
    When: the first validation stays the best; a metric is negative; scores are equal.
    Fix: while there are fewer than N, the worst score kept counts as the worst there is; the
    search finds negative ones; an older file makes room for a new one of its name.
    Upstream: https://github.com/facebookresearch/fairseq/issues/2195
    """
    find, save = checkpoint_utils.checkpoint_paths, checkpoint_utils.save_checkpoint

    @functools.wraps(save)
    def save_checkpoint(cfg: Any, trainer: Any, epoch_itr: Any, val_loss: float | None) -> Any:
        if cfg.keep_best_checkpoints > 0 and val_loss is not None and not cfg.no_save:
            if trainer.should_save_checkpoint_on_current_rank:
                _make_room(checkpoint_utils, cfg, trainer, epoch_itr.epoch, val_loss)
            checkpoint_utils.checkpoint_paths = functools.partial(_find_with_places_left, find, cfg)
        try:
            return save(cfg, trainer, epoch_itr, val_loss)
        finally:
            checkpoint_utils.checkpoint_paths = find

    checkpoint_utils.save_checkpoint = save_checkpoint


def _find_with_places_left(
    find: Callable[..., Any], cfg: Any, path: str, pattern: str, keep_match: bool = False
) -> Any:
    """`checkpoint_paths`, best score or newest first; a place that is free has the worst score.

    To save_checkpoint it is one more name with a score in it; there is no such file.
    """
    if not pattern.startswith(r"checkpoint\.best_"):
        return find(path, pattern, keep_match)
    found = find(path, pattern.replace(UNSIGNED, SIGNED))
    if len(found) < cfg.keep_best_checkpoints:
        worst = sys.float_info.max
        return (
            [*found, f"_{-worst}"] if cfg.maximize_best_checkpoint_metric else [f"_{worst}", *found]
        )
    return found


def _make_room(checkpoint_utils: Any, cfg: Any, trainer: Any, epoch: int, val_loss: float) -> None:
    """Rename another checkpoint that has the name which fairseq is about to give to this one."""
    updates, places = trainer.get_num_updates(), cfg.keep_best_checkpoints
    with checkpoint_utils.data_utils.numpy_seed(epoch, updates, val_loss):
        drawn = checkpoint_utils.np.random.randint(0, places)

    def path(digit: int) -> str:
        name = f"checkpoint.best_{cfg.best_checkpoint_metric}_{val_loss:.3f}{digit}"
        return os.path.join(cfg.save_dir, f"{name}{trainer.checkpoint_suffix}.pt")

    free = [digit for digit in range(places) if not os.path.exists(path(digit))]
    if free and drawn not in free and _updates_in(path(drawn)) != updates:
        os.rename(path(drawn), path(free[0]))


def _updates_in(path: str) -> int | None:
    """Updates made before a checkpoint was written; None in an unusable one."""
    try:
        state = checkpoint_module("read").read_lazily(path)
        return state["optimizer_history"][-1]["num_updates"]
    except (LookupError, OSError, RuntimeError, TypeError, ValueError):
        return None
