"""fairseq's `dict.txt`: a symbol and its count on each line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..core.dictionary_symbols import FAIRSEQ_SYMBOLS
from ..core.whole_file import whole_file

NAME = "dict.txt"
OF_SENTENCES = Path("input0") / NAME
"""In data of --task sentence_prediction."""

_OVERWRITE = "#fairseq:overwrite"  # behind the count: this line counts, not one before it


class BadDictionaryError(ValueError):
    """A dictionary that cannot be used; the message names the file and the line."""


@dataclass(frozen=True)
class Dictionary:
    """The symbols behind fairseq's own four, in order.

    Args:
        entries: symbols and their counts, as the file lists them.
    """

    entries: list[tuple[str, int]]
    index: dict[str, int] = field(init=False)
    """Symbol -> its number."""

    def __post_init__(self) -> None:
        symbols = [*FAIRSEQ_SYMBOLS, *(symbol for symbol, _ in self.entries)]
        object.__setattr__(self, "index", {s: number for number, s in enumerate(symbols)})

    def __len__(self) -> int:
        return len(FAIRSEQ_SYMBOLS) + len(self.entries)


def dictionary_in(folder: Path) -> Path | None:
    """The dictionary of the texts in a folder of data of either task; None if there is none."""
    paths = (folder / OF_SENTENCES, folder / NAME)
    return next((path for path in paths if path.is_file()), None)


def symbols_in(path: Path, *, errors: str = "strict") -> list[str]:
    """The symbols that a dictionary lists, in order.

    Args:
        path: of the file.
        errors: what to do with bytes that are no UTF-8, as `open` has it.
    """
    with open(path, encoding="utf-8", errors=errors) as file:
        return [_fields(line)[0] for line in file]


def read_dictionary(path: Path) -> Dictionary:
    """A dictionary as fairseq reads it.

    Raises:
        BadDictionaryError: a line without a count, a symbol for the second time, or no UTF-8.
        OSError: the file cannot be read.
    """
    entries: list[tuple[str, int]] = []
    seen = set(FAIRSEQ_SYMBOLS)
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                symbol, count, overwrites = _fields(line)
                if symbol in seen and not overwrites:
                    raise BadDictionaryError(
                        f"{path}:{number}: {symbol!r} for the second time; where this line is to "
                        f"count, and not the one before, put {_OVERWRITE} behind it"
                    )
                try:
                    entries.append((symbol, int(count)))
                except ValueError as error:
                    raise BadDictionaryError(
                        f"{path}:{number}: expected 'symbol count', found {line.rstrip()!r}"
                    ) from error
                seen.add(symbol)
    except UnicodeDecodeError as error:
        raise BadDictionaryError(f"{path} is not UTF-8 text ({error})") from error
    return Dictionary(entries)


def write_dictionary(dictionary: Dictionary, path: Path) -> None:
    """The file that fairseq would write.

    Deviation: fairseq loses `#fairseq:overwrite`, and then refuses the file that it wrote.

    Raises:
        OSError: the file cannot be written; none is there then, or the one that was.
    """
    seen = set(FAIRSEQ_SYMBOLS)
    with whole_file(path) as place, open(place, "w", encoding="utf-8", newline="\n") as file:
        for symbol, count in dictionary.entries:
            file.write(f"{symbol} {count}{f' {_OVERWRITE}' if symbol in seen else ''}\n")
            seen.add(symbol)


def _fields(line: str) -> tuple[str, str, bool]:
    """Symbol, count, and whether the line overwrites one before it."""
    text = line.rstrip()
    plain = text.removesuffix(f" {_OVERWRITE}")
    symbol, *count = plain.rsplit(" ", 1)
    return symbol, count[0] if count else "", plain != text
