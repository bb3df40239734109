"""Rows of raw text in, TSV or JSON lines out: what predict --text, encode and fill-mask share."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.bounds import BATCH_SIZE
from ..core.whole_file import check_replaceable, whole_file
from ..inference import ROWS_A_BATCH

if TYPE_CHECKING:
    from ..api import TupeModel

logger = logging.getLogger(__name__)

STANDARD = "-"
TSV, JSON_LINES = "tsv", "jsonl"
TEXT_HELP = (
    "raw text, a sentence on each line, or two sentences with a tab between them; an empty line is "
    "a row too; -: standard input"
)


def add_text_arguments(parser: argparse.ArgumentParser, *, tsv: str, json_line: str) -> None:
    """Arguments of a command that does nothing but this."""
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="a checkpoint, the folder of a run, or a folder of Hugging Face's transformers",
    )
    parser.add_argument("--text", default=STANDARD, metavar="FILE", help=f"{TEXT_HELP} (default)")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: standard output"
    )
    add_format_argument(parser, tsv=tsv, json_line=json_line)
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="the data that the model was trained on (default: what the checkpoint names); or its "
        "pre-training's data-bin, where that data does not say what its text went through",
    )
    add_model_arguments(parser)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """How the model is run, on raw text or on data."""
    parser.add_argument(
        "--batch-size", type=BATCH_SIZE, default=ROWS_A_BATCH, help="default: %(default)s"
    )
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    parser.add_argument("--fp16", action="store_true", help="run the model in half precision")


def add_format_argument(parser: argparse.ArgumentParser, *, tsv: str, json_line: str) -> None:
    """Args: what is written in each format, for the help."""
    parser.add_argument(
        "--format",
        choices=(TSV, JSON_LINES),
        help=f"{TSV} (default): {tsv}; {JSON_LINES}: {json_line}",
    )


@contextmanager
def model_of(path: Path, args: argparse.Namespace) -> Iterator[TupeModel]:
    """The model that the arguments name; what it refuses of a row is said of the file's line."""
    import torch

    from ..api import TupeModel
    from ..inference.text_errors import RowError, TextError

    device = "cpu" if args.cpu else None
    try:
        yield TupeModel.from_pretrained(path, data=args.data, device=device, half=args.fp16)
    except RowError as error:
        raise ValueError(f"{_line(args.text, error.number)}: {error.problem}") from error
    except torch.cuda.OutOfMemoryError as error:
        raise TextError(f"the GPU's memory is full: lower --batch-size; {error}") from error


def check_output(output: Path | None, *, inputs: Iterable[str | Path]) -> None:
    """Refuse a place that cannot be written to, or that one of the inputs is in.

    Raises:
        ValueError, OSError: it is such a place.
    """
    if output is None or str(output) == STANDARD:
        return
    check_replaceable(output)
    for path in map(Path, inputs):
        if output.exists() and path.exists() and output.samefile(path):
            raise ValueError(f"-o {output} would replace {path}, which is read: give another name")


def read_rows(source: str) -> list[str | tuple[str, str]]:
    """Sentences and pairs of sentences, a line each; an empty line is an empty sentence.

    Raises:
        ValueError: it is not UTF-8 text, there is none, or a line has more than one tab.
        OSError: it cannot be read.
    """
    raw = sys.stdin.buffer.read() if source == STANDARD else Path(source).read_bytes()
    rows: list[str | tuple[str, str]] = []
    for number, line in enumerate(raw.removesuffix(b"\n").split(b"\n"), start=1):
        try:
            sentences = line.removesuffix(b"\r").decode("utf-8").split("\t")
        except UnicodeDecodeError as error:
            raise ValueError(f"{_line(source, number)}: not UTF-8 text: {error}") from error
        if len(sentences) > 2:
            raise ValueError(
                f"{_line(source, number)}: {len(sentences)} columns; give a sentence, or two "
                "sentences with a tab between them"
            )
        rows.append(sentences[0] if len(sentences) == 1 else (sentences[0], sentences[1]))
    if not raw:
        raise ValueError(f"{_name(source)} is empty")
    if empty := rows.count(""):
        logger.warning(
            "%s: %s of %s lines are empty; each is a row too, of an empty sentence",
            *(_name(source), f"{empty:,}", f"{len(rows):,}"),
        )
    return rows


def _name(source: str) -> str:
    return "standard input" if source == STANDARD else source


def _line(source: str, number: int) -> str:
    return f"line {number} of {_name(source)}"


def write_lines(lines: Iterable[str], output: Path | None) -> None:
    """Write to a file, whole or not at all, or to standard output (None, or `-`)."""
    text = "".join(f"{line}\n" for line in lines)
    if output is None or str(output) == STANDARD:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(output) as unfinished:
        unfinished.write_text(text, encoding="utf-8", newline="\n")


def json_lines(values: Iterable[Any]) -> Iterator[str]:
    return (json.dumps(value, ensure_ascii=False) for value in values)
