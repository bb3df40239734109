"""The `tupe` console command. A subcommand's module is imported only when it is called."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from ..compat.refused_job import end_interrupted_with
from ..data.libraries import NEEDED, MissingLibraryError
from .closed_pipe import STATUS, flush_output, give_up_what_nobody_reads

COMMANDS = {  # name -> (module of this package, one line of help)
    "data": ("data", "make fairseq data of a corpus, of GLUE, or of a task of your own"),
    "sweep": ("sweep", "run tasks x models x strategies x rates x seeds, here or on Slurm"),
    "recipe": ("recipe", "print the fairseq-train command of one fine-tuning"),
    "report": (
        "report",
        "one table for many fine-tuning runs, following the TUPE paper's protocol",
    ),
    "compare-pretraining": (
        "compare_pretraining",
        "pre-train with each position scheme, and say when each reaches BERT-A's loss",
    ),
    "plot": ("plot", "plot learning curves, learned positions and the drift of bias terms"),
    "delta": ("delta", "the result of BitFit as a small file: save, apply, info"),
    "predict": (
        "predict",
        "write the predictions of fine-tuned models and the zip for the GLUE server",
    ),
    "encode": ("encode", "write the features of raw sentences"),
    "fill-mask": ("fill_mask", "write what a pre-trained model puts in the place of <mask>"),
    "import": (
        "import_model",
        "make a checkpoint of a BERT, RoBERTa, MPNet or TUPE of Hugging Face's transformers",
    ),
    "export": (
        "export_model",
        "make a model of Hugging Face's transformers of a checkpoint",
    ),
    "average": ("average", "average fine-tuned models: all of them, or a greedy selection"),
    "user-dir": ("user_dir", "print the path to give as --user-dir"),
    "convert-checkpoint": (
        "convert_checkpoint",
        "rewrite a trusted checkpoint so that it can be read without executing code from it",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit status.

    What a command refuses, it raises as a ValueError or an OSError; that ends here, in one line.
    """
    try:
        return _told(list(sys.argv[1:] if argv is None else argv))
    except BrokenPipeError:
        if not give_up_what_nobody_reads():
            raise
        return STATUS
    finally:
        give_up_what_nobody_reads()  # of what was printed before an error


def _told(arguments: list[str]) -> int:
    """The exit status; what is wrong is said.

    Raises:
        BrokenPipeError: nobody listens.
    """
    called = next((argument for argument in arguments if argument in COMMANDS), None)
    try:
        status = _run(arguments, called)
        flush_output()
        return status
    except SystemExit:
        flush_output()
        raise
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError) and give_up_what_nobody_reads():
            return STATUS
        print(f"tupe {called}: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        print(f"tupe {called}: {MissingLibraryError([error.name])}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        advice = f"; {interrupt}" if str(interrupt) else ""
        end_interrupted_with(f"{called} interrupted{advice}")
        raise


def _run(arguments: list[str], called: str | None) -> int:
    parser = argparse.ArgumentParser(
        prog="tupe", description="Tools of tupe_plugin; training itself is fairseq-train."
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (module_name, summary) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name == called:
            module = importlib.import_module(f"{__name__}.{module_name}")
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    args, unknown = parser.parse_known_args(arguments)
    if unknown:  # said with the usage of the subcommand; argparse's own is `tupe COMMAND ...`
        subparsers.choices[str(called)].error(f"unrecognized arguments: {' '.join(unknown)}")
    status: int = args.run(args)
    return status
