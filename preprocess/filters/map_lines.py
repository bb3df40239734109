"""Run text files through a chain of line filters, on all cores, in order, in constant memory.

    python -m preprocess.filters.map_lines --steps normalize_punctuation,lowercase_text \\
        --output clean.txt TEXT...

A filter is a pure function of one line; the chain runs on blocks of lines in worker processes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from preprocess.filters.apply_bpe import BadCodesError, BytePairEncoder, read_codes
from preprocess.filters.lowercase_text import lowercase_text
from preprocess.filters.normalize_punctuation import normalize_punctuation
from preprocess.filters.open_text import UnreadableTextError, read_lines
from preprocess.filters.remove_nonprinting import remove_nonprinting
from preprocess.filters.split_long_lines import split_long_line
from preprocess.filters.tokenize_words import tokenize_words

LineFilter = Callable[[str], str]

_BLOCK_CHARACTERS = 50_000  # enough work for a worker that sending it costs nothing
_BLOCKS_AHEAD = 3  # for each worker: keeps all busy, bounds what is held in memory


@dataclass(frozen=True)
class Chain:
    """Which filters run, in which order; picklable, so that every worker builds its own."""

    steps: tuple[str, ...]
    bpe_codes: Path | None = None
    max_line_tokens: int | None = None

    def build(self) -> list[LineFilter]:
        """The filters in order.

        Raises:
            ValueError: a step that does not exist, or that lacks what it needs.
        """
        unknown = [step for step in self.steps if step not in FILTERS]
        if unknown:
            raise ValueError(f"no step {unknown[0]!r}; the steps are {', '.join(FILTERS)}")
        return [FILTERS[step](self) for step in self.steps]


def _apply_bpe(chain: Chain) -> LineFilter:
    if chain.bpe_codes is None:
        raise ValueError("apply_bpe needs --bpe-codes FILE")
    return BytePairEncoder(read_codes(chain.bpe_codes))


def _split_long_lines(chain: Chain) -> LineFilter:
    limit = chain.max_line_tokens
    if limit is None or limit < 1:
        raise ValueError(f"split_long_lines needs --max-line-tokens of at least 1, not {limit}")
    return lambda line: split_long_line(line, max_tokens=limit)


FILTERS: dict[str, Callable[[Chain], LineFilter]] = {
    "normalize_punctuation": lambda chain: normalize_punctuation,
    "remove_nonprinting": lambda chain: remove_nonprinting,
    "tokenize_words": lambda chain: tokenize_words,
    "lowercase_text": lambda chain: lowercase_text,
    "apply_bpe": _apply_bpe,
    "split_long_lines": _split_long_lines,
}


def blocks_of_lines(lines: Iterable[str], *, characters: int) -> Iterator[list[str]]:
    """Consecutive lines, together about `characters` long."""
    block: list[str] = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line) + 1
        if size >= characters:
            yield block
            block, size = [], 0
    if block:
        yield block


def map_block(filters: list[LineFilter], block: list[str], *, drop_emptied: bool) -> list[str]:
    """The block's lines after all filters.

    `drop_emptied` leaves out a line that had text and lost all of it, because an empty line means
    "a new document begins"; lines that were empty stay.
    """
    mapped = []
    for line in block:
        was_empty = not line.strip()
        for line_filter in filters:
            line = line_filter(line)
        if was_empty or line or not drop_emptied:
            mapped.append(line)
    return mapped


_worker_filters: list[LineFilter] = []


def _start_worker(chain: Chain) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _worker_filters[:] = chain.build()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # the parent was killed: nobody will ever send work or read results


def _work(block: list[str], drop_emptied: bool) -> list[str]:
    return map_block(_worker_filters, block, drop_emptied=drop_emptied)


class LineMapper:
    """Worker processes that each hold the chain; use it in a `with` statement."""

    def __init__(self, chain: Chain, *, workers: int) -> None:
        self._workers = workers
        self._pool = ProcessPoolExecutor(
            workers,
            # Not "fork": the progress bar has a thread, and a forked thread's locks stay locked.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(chain,),
        )

    def __enter__(self) -> LineMapper:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def map(self, lines: Iterable[str], *, drop_emptied: bool = False) -> Iterator[list[str]]:
        """Yield the lines after the chain, in order, in blocks; few blocks are in memory."""
        pending: deque[Future[list[str]]] = deque()
        for block in blocks_of_lines(lines, characters=_BLOCK_CHARACTERS):
            pending.append(self._pool.submit(_work, block, drop_emptied))
            if len(pending) > self._workers * _BLOCKS_AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def all_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
        tqdm(
            total=sum(path.stat().st_size for path in paths),
            unit="B",
            unit_scale=True,
            desc=output.name,
            mininterval=0.5 if sys.stderr.isatty() else 10,
        ) as progress,
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

        for block in mapper.map(all_lines(), drop_emptied=drop_emptied):
            sink.writelines(line + "\n" for line in block)
            lines_out += sum(line.count("\n") + 1 for line in block)
    return lines_in, lines_out


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("paths", nargs="+", type=Path, metavar="TEXT", help="also .gz, .bz2, .xz")
    parser.add_argument(
        "--steps",
        required=True,
        help=f"filters in order, separated by commas: {', '.join(FILTERS)}",
    )
    outputs = parser.add_mutually_exclusive_group(required=True)
    outputs.add_argument("--output", type=Path, help="one file to write, whatever the inputs")
    outputs.add_argument("--output-dir", type=Path, help="write a file of the same name for each")
    parser.add_argument("--bpe-codes", type=Path, help="merges for the step apply_bpe")
    parser.add_argument("--max-line-tokens", type=int, help="limit for the step split_long_lines")
    parser.add_argument("--workers", type=int, default=0, help="processes (default: all cores)")
    parser.add_argument(
        "--drop-emptied", action="store_true", help="leave out lines that lost all their text"
    )
    args = parser.parse_args(arguments)
    chain = Chain(
        steps=tuple(args.steps.split(",")),
        bpe_codes=args.bpe_codes,
        max_line_tokens=args.max_line_tokens,
    )
    if args.output is not None:
        jobs = [(args.paths, args.output)]
    else:
        jobs = [([path], args.output_dir / path.name) for path in args.paths]
    try:
        chain.build()
        with LineMapper(chain, workers=args.workers or all_cores()) as mapper:
            for paths, output in jobs:
                counts = map_files(paths, output, mapper, drop_emptied=args.drop_emptied)
                sys.stderr.write(f"{output.name}: {counts[0]} lines read, {counts[1]} written\n")
    except (BadCodesError, UnreadableTextError, ValueError, OSError) as error:
        parser.exit(1, f"map_lines: {error}\n")
    except BrokenProcessPool:
        parser.exit(1, "map_lines: a worker process was killed; out of memory? try --workers 1\n")
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
