"""fairseq's dictionary out of one that others have written."""

from __future__ import annotations

from pathlib import Path

from ..unit_options import Units
from ..units.apply_wordpiece import dictionary_text, read_vocabulary

_OF_AUTHORS = ("<file>", "<email>", "<url>")


def write_foreign_dictionary(units: Units, output: Path) -> None:
    """A BERT's units in its order, or the dictionary of the original TUPE code.

    That code keeps three symbols out of its dict.txt and puts them first itself; stock fairseq
    needs them in the file, else every id is off.

    Raises:
        ValueError: the file cannot be used.
        OSError: it cannot be read, or the other one not be written.
    """
    if units.authors_dictionary is not None:
        content = units.authors_dictionary.read_bytes()
        first = content.partition(b"\n")[0].partition(b" ")[0]
        if first != _OF_AUTHORS[0].encode():
            content = "".join(f"{symbol} 1\n" for symbol in _OF_AUTHORS).encode() + content
        output.write_bytes(content)
    elif units.files.vocab is not None:
        output.write_text(dictionary_text(read_vocabulary(units.files.vocab)), encoding="utf-8")
