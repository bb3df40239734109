"""All steps of `text/` that are a function of a line, by name, with the libraries of all of them.

Programs that build a few steps take `line_steps.py`.
"""

from __future__ import annotations

from .text.clean_punctuation import clean_punctuation
from .text.lowercase_text import lowercase_text
from .text.normalize_punctuation import normalize_punctuation
from .text.remove_nonprinting import remove_nonprinting
from .text.replace_addresses import replace_addresses
from .text.split_hyphens import split_hyphens
from .text.tokenize_words import tokenize_words

TEXT_STEPS = {
    step.__name__: step
    for step in (
        replace_addresses,
        clean_punctuation,
        normalize_punctuation,
        remove_nonprinting,
        split_hyphens,
        tokenize_words,
        lowercase_text,
    )
}
