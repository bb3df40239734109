"""What fairseq does with its command line before a job begins."""

from __future__ import annotations

import argparse
import copy
import functools
import re
import sys
from collections.abc import Iterator
from typing import Any

from .option_bounds import check_fairseq_options
from .refused_job import RefusedJobError, exit_with, in_a_command


def ask_for_the_task_and_the_checkpoint(options: Any) -> None:
    """`KeyError: None` from `fairseq-validate`; `argument of type 'NoneType' is not iterable`.

    Where: fairseq/options.py:158: of the tasks, the one of no name. fairseq_cli/interactive.py:146
    and eval_lm.py:254 look into `--path`.
    When: no `--task`, in a program that has no default for it; no `--path`.
    Fix: one line says what to give.
    """
    original = options.parse_args_and_arch

    @functools.wraps(original)
    def parse_args_and_arch(parser: Any, input_args: Any = None, *rest: Any, **named: Any) -> Any:
        words = list(sys.argv[1:] if input_args is None else input_args)
        given = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        given.add_argument("--task", default=parser.get_default("task"))
        given.add_argument("--path")
        known = parser._option_string_actions
        args, _ = given.parse_known_args(words)
        if {"-h", "--help"} & set(words):
            pass
        elif "--task" in known and args.task is None:
            exit_with(
                "give --task, the one that the checkpoint was trained with, such as "
                "--task sentence_prediction or --task masked_lm"
            )
        elif "--path" in known and args.path is None and in_a_command():
            exit_with("give --path, the checkpoint, or several with : between two")
        return original(parser, input_args, *rest, **named)

    options.parse_args_and_arch = parse_args_and_arch


def keep_bf16_off_tpu(options: Any) -> None:
    """`ModuleNotFoundError: No module named 'torch_xla'` from `--bf16`.

    Where: fairseq/options.py:200: `--bf16` switches `--tpu` on.
    When: always, with `--bf16` or `--memory-efficient-bf16` on a CPU or a GPU.
    Fix: `tpu` is switched off again unless the command line asks for it.
    Upstream: https://github.com/facebookresearch/fairseq/issues/4696
    """
    original = options.parse_args_and_arch

    @functools.wraps(original)
    def parse_args_and_arch(parser: Any, input_args: Any = None, *rest: Any, **named: Any) -> Any:
        parsed = original(parser, input_args, *rest, **named)
        args = parsed[0] if isinstance(parsed, tuple) else parsed
        asked_for = sys.argv[1:] if input_args is None else input_args
        if getattr(args, "bf16", False) and "--tpu" not in asked_for:
            args.tpu = False
        return parsed

    options.parse_args_and_arch = parse_args_and_arch


def show_options_of_chosen_parts(options: Any) -> None:
    """No message: `--help` lacks every option of the chosen model, task, criterion or optimizer.

    Where: fairseq/options.py:138: the first of two passes over the command line prints the help and
    ends, and only after it the parts add their options.
    When: `fairseq-train ... --arch tupe_tiny --optimizer adam --help`.
    Fix: the first pass does not see `--help`. Without `--arch` there is no second, and the help is
    the one that it was.
    """
    original = options.parse_args_and_arch
    asking = ("-h", "--help")

    @functools.wraps(original)
    def parse_args_and_arch(parser: Any, input_args: Any = None, *rest: Any, **named: Any) -> Any:
        words = list(sys.argv[1:] if input_args is None else input_args)
        if not set(asking) & set(words):
            return original(parser, input_args, *rest, **named)
        parse_known_args = parser.parse_known_args

        def first_pass(*_: Any) -> Any:
            parser.parse_known_args = parse_known_args
            args, unknown = parse_known_args([word for word in words if word not in asking])
            if getattr(args, "arch", "") is None:
                parser.print_help()
                parser.exit()
            return args, unknown

        parser.parse_known_args = first_pass
        return original(parser, input_args, *rest, **named)

    options.parse_args_and_arch = parse_args_and_arch


def name_the_option_that_a_task_wants_of_its_criterion(dataclass_utils: Any) -> None:
    """`InterpolationKeyError: Interpolation key 'criterion.classification_head_name' not found`.

    Where: fairseq/dataclass/utils.py:408: the options of one part refer to those of another.
    When: `--task sentence_prediction` without `--criterion`, which is then `cross_entropy`.
    Fix: the error says which criterion was taken, and what to give.
    """
    from omegaconf import errors  # this module must not need omegaconf

    original = dataclass_utils.convert_namespace_to_omegaconf

    @functools.wraps(original)
    def convert_namespace_to_omegaconf(args: Any) -> Any:
        try:
            return original(args)
        except (errors.InterpolationKeyError, errors.InterpolationResolutionError) as error:
            option = re.search(r"(?:key '|access )criterion\.(\w+)", str(error))
            if option is None:
                raise
            exit_with(
                f"--task {args.task} does not go with --criterion {args.criterion}, which has no "
                f"option {option[1]}: give the task's own, such as --criterion {args.task}"
            )

    dataclass_utils.convert_namespace_to_omegaconf = convert_namespace_to_omegaconf


def refuse_impossible_options_before_the_job(distributed_utils: Any) -> None:
    """No message: an option out of bounds is found late, or trains in vain, or ends in tracebacks.

    Where: fairseq/distributed/utils.py:352: what `fairseq-train` and `fairseq-hydra-train` call
    once they have all options, and which starts the workers.
    When: `--optimizer mfac --mfac-damping 0`, which is found when data and model are in memory;
    `--lr -1`, with which fairseq trains nothing and ends well.
    Fix: a part that has a function `check_options` is asked there; what it refuses is one line.
    The options that every job has are held against `option_bounds.BOUNDS`.
    """
    call_main = distributed_utils.call_main

    @functools.wraps(call_main)
    def call_main_with_possible_options(cfg: Any, main: Any, **named: Any) -> Any:
        check_fairseq_options(cfg)
        for part, options in _chosen_parts(cfg):
            try:
                getattr(part, "check_options", lambda _: None)(options)
            except ValueError as error:
                raise RefusedJobError(str(error)) from error
        return call_main(cfg, main, **named)

    distributed_utils.call_main = call_main_with_possible_options


def _chosen_parts(cfg: Any) -> Iterator[tuple[type, Any]]:
    """(class, its options) for the model, the criterion, the optimizer, the scheduler ..."""
    from fairseq import utils
    from fairseq.dataclass.initialize import add_defaults
    from fairseq.models import ARCH_MODEL_REGISTRY
    from fairseq.registry import REGISTRIES

    utils.import_user_module(cfg.common)  # a job of hydra does so only later, and then
    cfg = copy.deepcopy(cfg)  # enumerations among the defaults could not be sent to workers
    add_defaults(cfg)  # has the options that hydra did not know
    tables = {name: entry["registry"] for name, entry in REGISTRIES.items()}
    for name, registry in {**tables, "model": ARCH_MODEL_REGISTRY}.items():
        options = getattr(cfg, name, None)
        part = registry.get(getattr(options, "_name", None))
        if part is not None:
            yield part, options
