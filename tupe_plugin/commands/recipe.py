"""`tupe recipe TASK DATA_BIN CHECKPOINT SAVE_DIR`: one fine-tuning as a `fairseq-train` command.

It is printed for a shell, on one line; `examples/finetune/glue.sh` runs it.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from ..data.glue_tasks import load_task
from ..sweep.option_words import options_of
from ..sweep.presets import load_presets
from ..sweep.recipe import command, fine_tuning, from_scratch
from ..sweep.strategy import PLAIN, StrategyError, strategy_called

NO_CHECKPOINT = "none"

# Of the further options, those that decide what the recipe gives.
_CHOICES = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
_CHOICES.add_argument("--arch", "-a", default=argparse.SUPPRESS)
_CHOICES.add_argument("--optimizer", default=argparse.SUPPRESS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--without", action="append", default=[], metavar="OPTION", help="leave out, as rel-pos"
    )
    parser.add_argument(
        "--strategy", default=PLAIN, metavar="NAME", help="of presets.toml, or several: A+B"
    )
    parser.add_argument("task", help="one of GLUE's")
    parser.add_argument("data", type=Path, metavar="DATA_BIN", help="of `tupe data task`")
    parser.add_argument(
        "checkpoint",
        type=Path,
        help="the pre-trained model, a file or a folder; 'none' trains from scratch",
    )
    parser.add_argument("save_dir", type=Path, metavar="SAVE_DIR", help="for --save-dir")
    parser.add_argument(
        "more",
        nargs=argparse.REMAINDER,
        metavar="OPTION",
        help="further options of fairseq-train, which count; with --arch, the architecture is not "
        "looked up in the checkpoint",
    )


def run(args: argparse.Namespace) -> int:
    task = load_task(args.task)
    strategy = strategy_called(args.strategy, load_presets()["strategy"])
    if strategy.parent is not None:
        raise StrategyError(f"--strategy {args.strategy} trains nothing: `tupe sweep` makes it")
    given = vars(_CHOICES.parse_known_args(args.more)[0])
    checkpoint, model = None, from_scratch()
    if str(args.checkpoint) != NO_CHECKPOINT:
        from ..sweep.model_options import checkpoint_of, model_options  # imports torch

        checkpoint = checkpoint_of(args.checkpoint)
        model = model if "arch" in given else model_options(checkpoint)
    more = (strategy.options, strategy.task.get(task.name, {}), given)
    options = fine_tuning(task.name, options_of(task.training_flags), model, *more)
    left = {name: value for name, value in options.items() if name not in args.without}
    print(shlex.join([*command(args.data, checkpoint, args.save_dir, left), *args.more]))
    return 0
