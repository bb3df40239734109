"""Moses tokenisation for English: words and punctuation apart, one space between them.

sacremoses' port of Moses' `tokenizer.perl -no-escape -l en`. Words that stand for something which
was removed (`<url>` ...) or that fairseq gives a meaning (`<unk>`, `</s>`) are never cut.
"""

from __future__ import annotations

from functools import cache

from sacremoses import MosesTokenizer

PROTECTED_WORDS = ("<url>", "<email>", "<file>", "<unk>", "</s>")


class _PerlTokenizer(MosesTokenizer):
    """sacremoses with another rule for the periods, for two reasons.

    The Perl script cuts the period off the last word of a line even where that is an abbreviation
    (`... of a Saturn V .`), sacremoses does not. And sacremoses builds a set of all lower-case
    letters for each word that ends in a period: two thirds of its time.
    """

    def __init__(self) -> None:
        super().__init__(lang="en")
        self._lower = frozenset(self.IsLower)
        self._letters = frozenset(self.IsAlpha)
        self._before_numbers = frozenset(self.NUMERIC_ONLY_PREFIXES)
        self._always = frozenset(self.NONBREAKING_PREFIXES) - self._before_numbers

    def handles_nonbreaking_prefixes(self, text: str) -> str:
        words = text.split()
        for index, (word, following) in enumerate(zip(words, [*words[1:], ""], strict=False)):
            if (
                word.endswith(".")
                and len(word) > 1
                and not self._keeps_period(word[:-1], following)
            ):
                words[index] = word[:-1] + " ."
        return " ".join(words)

    def _keeps_period(self, word: str, following: str) -> bool:
        if not following:
            return False
        return (
            ("." in word and not self._letters.isdisjoint(word))
            or word in self._always
            or following[0] in self._lower
            or (word in self._before_numbers and following[0] in "0123456789")
        )


@cache
def _tokenizer() -> MosesTokenizer:
    return _PerlTokenizer()


def tokenize_words(line: str) -> str:
    """`Don't, he said.` -> `Don 't , he said .`; the line has no newline."""
    # Without "<" there is nothing to protect; sacremoses is a quarter faster without the search.
    protected = list(PROTECTED_WORDS) if "<" in line else None
    return _tokenizer().tokenize(line, escape=False, return_str=True, protected_patterns=protected)
