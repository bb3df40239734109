"""Models that are built because a file says so."""

from __future__ import annotations

import argparse
import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any

from .checkpoint_package import checkpoint_module
from .refused_job import raised_here

_admit: contextvars.ContextVar[Any] = contextvars.ContextVar("admit", default=None)


def build_from_files_by_an_allow_list(checkpoint_utils: Any) -> None:
    """A checkpoint runs Python, takes all memory, or ends in `KeyError: '_name'`.

    Where: fairseq/checkpoint_utils.py:394, which builds the task and the model that a file names;
    callers build its criterion.
    When: `fairseq-validate`, `fairseq-generate`, `from_pretrained` and the like meet a file of
    somebody else, or a plug-in's without the plug-in.
    Fix: only what was looked through is built, and no more of it than the file has weights for.
    The rule is in `checkpoint/buildable.py`; what goes wrong after it names the file. A file that
    is not there is a refusal as well.
    """
    load_ensemble = checkpoint_utils.load_model_ensemble_and_task
    load_to_cpu = checkpoint_utils.load_checkpoint_to_cpu

    @functools.wraps(load_to_cpu)
    def load_checkpoint_to_cpu(path: str, *rest: Any, **named: Any) -> Any:
        state = load_to_cpu(path, *rest, **named)
        admit = _admit.get()
        if admit is not None:
            admit(state, path)
        return state

    @functools.wraps(load_ensemble)
    def load_model_ensemble_and_task(
        filenames: Any,
        arg_overrides: Any = None,
        task: Any = None,
        strict: bool = True,
        suffix: str = "",
        num_shards: int = 1,
        state: Any = None,
    ) -> Any:
        errors = checkpoint_module("errors")
        name = ", ".join(map(str, filenames))
        bounded_model = checkpoint_module("bounded_model").bounded_model

        buildable, entry = checkpoint_module("buildable"), checkpoint_module("settings").entry
        parts = [part for part in buildable.PARTS if part != "task" or task is None]

        def admit(read: Any, path: Any) -> None:
            for settings in (read.get("cfg"), read.get("args")):
                buildable.forget_first_weights(settings, arg_overrides or ())
            cfg = read.get("cfg") or checkpoint_utils.convert_namespace_to_omegaconf(read["args"])
            buildable.check_buildable(cfg, path, parts=parts, chosen=arg_overrides or ())
            inner = entry(entry(cfg, "model"), "w2v_args")  # of a model, and a task, inside
            if isinstance(inner, argparse.Namespace):
                inner = checkpoint_utils.convert_namespace_to_omegaconf(inner)
            if inner:
                buildable.forget_first_weights(inner)
                buildable.check_buildable(inner, path)
            bound.allow(read["model"], cfg, path)

        with bounded_model(shards=num_shards) as bound, admitting(admit):
            if state is not None:
                admit(state, name)
            try:
                return load_ensemble(
                    filenames, arg_overrides, task, strict, suffix, num_shards, state
                )
            except (errors.CheckpointError, MemoryError):
                raise
            except OSError as error:
                if str(error).startswith("Model file not found"):  # with a message of fairseq's own
                    raise FileNotFoundError(str(error)) from error
                raise
            except Exception as error:
                if isinstance(error, ValueError) and raised_here(error):
                    raise errors.UnusableCheckpointError(f"{name}: {error}") from error
                raise errors.UnusableCheckpointError(
                    f"{name}: its model cannot be built and filled ({errors.in_one_line(error)})"
                ) from error

    checkpoint_utils.load_checkpoint_to_cpu = load_checkpoint_to_cpu
    checkpoint_utils.load_model_ensemble_and_task = load_model_ensemble_and_task


def name_an_unknown_criterion(criterions: Any) -> None:
    """`KeyError: 'my_criterion'`, `ConfigKeyError: Key 'x' not in ...` from `fairseq-validate`.

    Where: fairseq/registry.py:40 and 55.
    When: a checkpoint names a criterion of a plug-in that is not loaded, or is damaged.
    Fix: one line says so.
    """
    from omegaconf.errors import OmegaConfBaseException

    original = criterions.build_criterion

    @functools.wraps(original)
    def build_criterion(cfg: Any, task: Any) -> Any:
        name = getattr(cfg, "_name", None) or getattr(cfg, "criterion", None)
        if not isinstance(name, str) or name not in criterions.CRITERION_REGISTRY:
            raise checkpoint_module("errors").UnusableCheckpointError(
                f"--criterion {name} is not known: load the plug-in that it comes from (--user-dir)"
            )
        try:
            return original(cfg, task)
        except OmegaConfBaseException as error:
            errors = checkpoint_module("errors")
            raise errors.UnusableCheckpointError(
                f"the checkpoint's settings of --criterion {name} cannot be used "
                f"({errors.in_one_line(error)})"
            ) from error

    criterions.build_criterion = build_criterion


@contextlib.contextmanager
def admitting(admit: Callable[[Any, Any], None]) -> Iterator[None]:
    """`admit(state, path)` looks at each checkpoint that is read inside, and may refuse it."""
    token = _admit.set(admit)
    try:
        yield
    finally:
        _admit.reset(token)
