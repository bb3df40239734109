"""Units that a model reads as `<unk>`, for the record, with a warning where there are many."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from .binarize import Binarized

MANY = 0.03
"""Of a text's units: a judgement. CoLA in the units of an uncased BERT has none."""


def unknown_units(found: Mapping[str, Binarized]) -> dict[str, dict[str, int]]:
    """What the record says of each text: its sentences, its tokens and those that are `<unk>`.

    Args:
        found: name of a text -> what was in it.
    """
    shares = {name: one.unknown_share for name, one in found.items()}
    many = [f"{share:.1%} of {name}" for name, share in shares.items() if share > MANY]
    if many:
        sys.stderr.write(
            f"warning: <unk> stands for {', '.join(many)}, which a model cannot tell apart: give "
            "the vocabulary, or the codes and the dictionary, of the text's language and case\n"
        )
    return {
        name: {"sentences": one.sentences, "tokens": one.tokens, "unknown": one.unknown}
        for name, one in found.items()
    }
