"""Run text files through a chain of line steps, on all cores, in order, in constant memory.

    python -m tupe_plugin.data.text.map_lines --steps normalize_punctuation,lowercase_text \\
        --output clean.txt TEXT...

One line in, one line out: so GLUE's rows stay rows. Documents are `clean_documents`' business.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from ...core.bounds import COUNT, WORKERS
from ..chain_blocks import BLOCK_CHARACTERS, blocks_of, map_blocks, progress_in_bytes
from ..read.open_text import UnreadableTextError, read_lines
from ..step_chain import DOCUMENT_STEPS, LINE_STEPS, Chain, Step
from ..worker_pool import WorkerPool, all_cores
from ..write.write_counts import write_counts


def blocks_of_lines(lines: Iterable[str], *, characters: int) -> Iterator[list[str]]:
    """Consecutive lines, together about `characters` long."""
    return blocks_of(lines, lambda line: len(line) + 1, size=characters)


def map_block(
    steps: dict[str, Step],
    block: list[str],
    *,
    drop_emptied: bool,
    counts: Counter[str] | None = None,
) -> list[str]:
    """The block's lines after all steps.

    `drop_emptied` leaves out a line that had text and lost all of it, because an empty line means
    "a new document begins"; lines that were empty stay.
    """
    lines = block
    for step in steps.values():
        (lines,) = step([lines], Counter())  # line steps count nothing
    if not drop_emptied:
        return lines
    return [line for line, before in zip(lines, block, strict=True) if line or not before.strip()]


def _keep_emptied(steps: dict[str, Step], block: list[str], counts: Counter[str]) -> list[str]:
    return map_block(steps, block, drop_emptied=False)


def _drop_emptied(steps: dict[str, Step], block: list[str], counts: Counter[str]) -> list[str]:
    return map_block(steps, block, drop_emptied=True)


class LineMapper(WorkerPool):
    """Worker processes for lines; use it in a `with` statement."""

    def __init__(self, chain: Chain, *, workers: int) -> None:
        super().__init__(workers)
        self._chain = chain

    def map_lines(self, lines: Iterable[str], *, drop_emptied: bool = False) -> Iterator[list[str]]:
        """Yield the lines after the chain, in order, in blocks; few blocks are in memory."""
        function = _drop_emptied if drop_emptied else _keep_emptied
        blocks = blocks_of_lines(lines, characters=BLOCK_CHARACTERS)
        return map_blocks(self, self._chain, function, blocks, Counter())


# What a person can mend; each message says what is wrong and where.
MISTAKES = (UnreadableTextError, ValueError, OSError)


def map_files(
    paths: list[Path], output: Path, mapper: LineMapper, *, drop_emptied: bool = False
) -> tuple[int, int]:
    """Run files one after the other into `output`, with a progress bar.

    Between two files an empty line is written: a document never goes on in the next file.

    Returns:
        The numbers of lines read and written.
    """
    lines_in = lines_out = 0
    with (
        progress_in_bytes(paths, output) as progress,
        open(output, "w", encoding="utf-8", newline="\n") as sink,
    ):

        def all_lines() -> Iterator[str]:
            nonlocal lines_in
            for index, path in enumerate(paths):
                if index > 0:
                    yield ""
                for line in read_lines(path, on_progress=progress.update):
                    lines_in += 1
                    yield line

        for block in mapper.map_lines(all_lines(), drop_emptied=drop_emptied):
            sink.writelines(line + "\n" for line in block)
            lines_out += sum(line.count("\n") + 1 for line in block)
    return lines_in, lines_out


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="TEXT", help="also .gz, .bz2, .xz, .zst"
    )
    parser.add_argument(
        "--steps",
        required=True,
        help=f"in order, separated by commas: {', '.join(LINE_STEPS)}",
    )
    outputs = parser.add_mutually_exclusive_group(required=True)
    outputs.add_argument("--output", type=Path, help="one file to write, whatever the inputs")
    outputs.add_argument("--output-dir", type=Path, help="write a file of the same name for each")
    parser.add_argument("--bpe-codes", type=Path, help="merges for the step apply_bpe")
    parser.add_argument("--vocab", type=Path, help="BERT vocab.txt for the step apply_wordpiece")
    parser.add_argument("--cased", action="store_true", help="apply_wordpiece keeps case, accents")
    parser.add_argument("--max-line-tokens", type=COUNT, help="limit for the step split_long_lines")
    parser.add_argument("--counts", type=Path, help="write what was counted into this file (JSON)")
    parser.add_argument("--workers", type=WORKERS, default=0, help="processes (default: all cores)")
    parser.add_argument(
        "--drop-emptied", action="store_true", help="leave out lines that lost all their text"
    )
    args = parser.parse_args(arguments)
    chain = Chain(
        steps=tuple(args.steps.split(",")),
        bpe_codes=args.bpe_codes,
        vocab=args.vocab,
        cased=args.cased,
        max_line_tokens=args.max_line_tokens,
    )
    if args.output is not None:
        jobs = [(args.paths, args.output)]
    else:
        jobs = [([path], args.output_dir / path.name) for path in args.paths]
    all_counts: dict[str, dict[str, int]] = {}
    try:
        document_steps = [step for step in chain.steps if step in DOCUMENT_STEPS]
        if document_steps:
            raise ValueError(f"{document_steps[0]} is a step of clean_documents, not of lines")
        chain.build()
        mapper = LineMapper(chain, workers=args.workers or all_cores())
        with mapper:
            for paths, output in jobs:
                counts = map_files(paths, output, mapper, drop_emptied=args.drop_emptied)
                sys.stderr.write(
                    f"{output.name}: {counts[0]} lines read, {counts[1]} written, "
                    "empty lines included\n"
                )
                all_counts[output.name] = {"lines read": counts[0], "lines written": counts[1]}
        if args.counts is not None:
            write_counts(args.counts, all_counts)
    except MISTAKES as error:
        parser.exit(1, f"map_lines: {error}\n")
    except BrokenProcessPool:
        parser.exit(1, "map_lines: a worker process was killed; out of memory? try --workers 1\n")
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
