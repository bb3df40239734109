"""Are the files that text becomes units by what they should be? Said before any work is done."""

from __future__ import annotations

from .dictionary_file import read_dictionary
from .line_steps import build_line_steps
from .unit_options import Units


def check_units(units: Units) -> None:
    """Build the steps and read the dictionary, for what they refuse.

    Raises:
        ValueError: a file cannot be used, or a step lacks what it needs.
        OSError: a file cannot be read.
    """
    steps = units.line_steps if units.learns_bpe else (*units.line_steps, *units.unit_steps)
    build_line_steps(steps, units.files)
    for dictionary in (units.dictionary, units.authors_dictionary):
        if dictionary is not None:
            read_dictionary(dictionary)
