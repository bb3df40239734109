"""Which criterion a task goes with: the one of its own name, where there is one.

fairseq takes `cross_entropy` for every task that is given no criterion. For masked LM that divides
by all tokens, not by the masked ones: the perplexity comes out as 3 instead of 700, and the
gradients are seven times too small for clipping and for M-FAC.
"""

from __future__ import annotations

import argparse
import functools
import logging
from typing import Any

logger = logging.getLogger(__name__)


def take_the_criterion_of_the_task(options: Any) -> None:
    """No message: `--task masked_lm` without `--criterion` trains with `cross_entropy`.

    Where: fairseq/criterions/__init__.py:21 has one default for all tasks.
    When: a task is given without a criterion, and a criterion bears the task's name.
    Fix: that criterion is taken, and the log says so. `fairseq-validate` needs one to read its
    command line and then takes the checkpoint's, so there it is not said.
    """
    original = options.parse_args_and_arch

    @functools.wraps(original)
    def parse_args_and_arch(parser: Any, input_args: Any = None, *rest: Any, **named: Any) -> Any:
        given = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        given.add_argument("--task", default=parser.get_default("task"))
        given.add_argument("--criterion")
        args, _ = given.parse_known_args(input_args)
        own = None if args.criterion else _criterion_of(args.task)
        if own is not None and own != parser.get_default("criterion"):
            parser.set_defaults(criterion=own)
            if "--arch" in parser._option_string_actions:
                logger.info("--task %s without --criterion takes --criterion %s", args.task, own)
        return original(parser, input_args, *rest, **named)

    options.parse_args_and_arch = parse_args_and_arch


def take_the_criterion_of_the_task_in_hydra(initialize: Any) -> None:
    """No message: `fairseq-hydra-train task=masked_lm` trains with `cross_entropy`.

    Where: fairseq/config/config.yaml:12 has the same default for all tasks.
    When: neither the command line nor a job file says `criterion`.
    Fix: as on fairseq-train's command line.
    """
    original = initialize.add_defaults

    @functools.wraps(original)
    def add_defaults(cfg: Any) -> None:
        task = _name_of(cfg.get("task"))
        own = _criterion_of(task) if _criterion_is_not_given(cfg) else None
        if own is not None and own != _name_of(cfg.get("criterion")):
            cfg["criterion"] = own
            logger.info("task=%s without criterion takes criterion=%s", task, own)
        original(cfg)

    initialize.add_defaults = add_defaults


def _criterion_of(task: str | None) -> str | None:
    from fairseq.criterions import CRITERION_REGISTRY

    return task if task in CRITERION_REGISTRY else None


def _name_of(part: Any) -> str | None:
    """`criterion: masked_lm` and `criterion: {_name: masked_lm}` are the same to fairseq."""
    return part if isinstance(part, str) else getattr(part, "_name", None)


def _criterion_is_not_given(cfg: Any) -> bool:
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return False  # fairseq-train's own command line
    job = HydraConfig.get()
    if cfg.get("criterion") is None:
        return True
    typed = any(word.lstrip("+").startswith("criterion") for word in job.overrides.task)
    return job.job.config_name == "config" and not typed  # fairseq's own file has the default
