"""`tupe data corpus|task|flags|try`: text and tables in, fairseq data out; see `data/`."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from ..data.corpus_options import CleaningOptions, CorpusOptions
from ..data.glue_tasks import load_task
from ..data.libraries import check_libraries
from ..data.option_flags import Parser
from ..data.task_options import TaskOptions
from ..data.unit_options import UsageError

GO_ON = "run the same command again to go on"
_CORPUS = """\
Takes text out of its sources, cleans, tokenises, lower-cases and BPE-encodes it and makes
OUT_DIR/data-bin, which fairseq-train reads. SOURCE: text in UTF-8 (a line is a paragraph or a
sentence, an empty line ends a document; lines wrapped at a fixed width are joined), a MediaWiki
dump (.xml), or a folder with such files; each also .gz, .bz2, .xz, .zst. Interrupted, run the same
command again: it goes on. OUT_DIR/work holds what lies between; it can be removed when data-bin is
made. OUT_DIR/data-bin/manifest.json says what it was made from."""
_TASK = """\
Makes OUT_DIR/TASK-bin with input0, input1 (pairs), label and index (names of test rows), from
GLUE_DIR/TASK/*.tsv, with the text treatment of a pre-training. TASK: one of GLUE's nine
(tupe_plugin/data/glue_tasks.toml), or ALL that are there. Interrupted, run the same command again:
it goes on. Splits: train, valid, test; MNLI's mismatched sets are valid1 and test1, the diagnostic
set (AX) is MNLI's test2."""
_FLAGS = "Prints fairseq-train's flags for one of GLUE's tasks: classes, dev sets, metric."
_TRY = """\
Prints the documents of the sources after some steps, to look at what a step does. A step that does
not exist makes it list those that do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = f"tupe data {'|'.join(PROGRAMS)} ..."
    parser.epilog = "`tupe data corpus --help` lists the options of the first, and so on."
    # All in one, so that argparse takes no `--` away.
    parser.add_argument(
        "words",
        nargs=argparse.REMAINDER,
        metavar="|".join(PROGRAMS),
        help="make the data of a corpus, or of a task; print the flags of a training for one of "
        "GLUE's tasks; or try steps on some text",
    )


def run(args: argparse.Namespace) -> int:
    name, *words = args.words or [""]
    if name not in PROGRAMS:
        sys.stderr.write(f"tupe data: give one of {', '.join(PROGRAMS)}, not '{name}'\n")
        return 2
    signal.signal(signal.SIGTERM, _stop)
    try:
        return PROGRAMS[name](words)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(GO_ON) from None


def _stop(number: int, frame: Any) -> NoReturn:
    sys.stderr.write(f"tupe data: stopped; {GO_ON}\n")
    sys.exit(128 + number)


def _corpus(words: list[str]) -> int:
    parser = Parser(
        "tupe data corpus", CorpusOptions, arguments="SOURCE... OUT_DIR", description=_CORPUS
    )
    values, paths = parser.parse(words)
    *sources, output = paths or [Path()]
    try:
        options = CorpusOptions(**values)
        check_libraries()
        from ..data.corpus import make_corpus

        make_corpus(options, sources, output)
    except UsageError as error:
        parser.error(str(error))
    return 0


def _task(words: list[str]) -> int:
    parser = Parser(
        "tupe data task",
        TaskOptions,
        arguments="GLUE_DIR TASK OUT_DIR\n       tupe data task --check GLUE_DIR TASK",
        description=_TASK,
    )
    values, paths = parser.parse(words)
    options = TaskOptions(**values)
    try:
        if options.check:
            if len(paths) != 2 or options.format != "glue":
                raise UsageError("give --check GLUE_DIR TASK")
            check_libraries()
            from ..data.read.check_glue import check_glue

            return 1 if check_glue(paths[0], str(paths[1])) else 0
        if len(paths) != 3:
            raise UsageError("give GLUE_DIR, TASK and OUT_DIR")
        check_libraries()
        from ..data.task import make_task

        make_task(options, paths[0], str(paths[1]), paths[2])
    except UsageError as error:
        parser.error(str(error))
    return 0


def _try(words: list[str]) -> int:
    parser = Parser(
        "tupe data try", CleaningOptions, arguments="STEP,... SOURCE...", description=_TRY
    )
    values, paths = parser.parse(words)
    if len(paths) < 2:
        parser.error("give the names of steps and at least one SOURCE")
    check_libraries()
    from ..data.try_steps import try_steps

    try_steps(CleaningOptions(**values), str(paths[0]).split(","), paths[1:])
    return 0


def _flags(words: list[str]) -> int:
    if len(words) != 1 or words[0].startswith("-"):
        print("usage: tupe data flags TASK\n\n" + _FLAGS, file=sys.stderr)
        return 0 if words in (["-h"], ["--help"]) else 2
    print(" ".join(load_task(words[0]).training_flags))
    return 0


PROGRAMS = {"corpus": _corpus, "task": _task, "flags": _flags, "try": _try}
