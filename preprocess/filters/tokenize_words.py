"""Moses tokenisation for English: words and punctuation apart, one space between them.

sacremoses' port of Moses' `tokenizer.perl -no-escape -l en`. Words that stand for something which
was removed (`<url>` ...) or that fairseq gives a meaning (`<unk>`, `</s>`) are never cut.
"""

from __future__ import annotations

import re
from functools import cache

from sacremoses import MosesTokenizer

PROTECTED_WORDS = ("<url>", "<email>", "<file>", "<unk>", "</s>")

_PERIOD_AT_THE_END = re.compile(r"(?<=\S)\.$")


class _PerlTokenizer(MosesTokenizer):
    """sacremoses leaves the period on `Saturn V.` at the end of a line; the Perl script does not.

    The Perl script cuts the period off the last word even where the word is an abbreviation.
    """

    def handles_nonbreaking_prefixes(self, text: str) -> str:
        return _PERIOD_AT_THE_END.sub(" .", super().handles_nonbreaking_prefixes(text))


@cache
def _tokenizer() -> MosesTokenizer:
    return _PerlTokenizer(lang="en")


def tokenize_words(line: str) -> str:
    """`Don't, he said.` -> `Don 't , he said .`; the line has no newline."""
    # Without "<" there is nothing to protect; sacremoses is a quarter faster without the search.
    protected = list(PROTECTED_WORDS) if "<" in line else None
    return _tokenizer().tokenize(line, escape=False, return_str=True, protected_patterns=protected)
