"""Moses tokenisation for English: words and punctuation apart, one space between them.

The rules are sacremoses' port of Moses' `tokenizer.perl -no-escape -l en`; `PROTECTED_WORDS` are
never cut.

A rule looks no further than to the characters beside its own. So a word between two spaces gives
the same tokens in every line, and is looked up, but for three cases, in which the rules see more:

    at the ends of a line   no space beside a comma or an apostrophe
    `a. b`                  a period stays or goes by the word that follows
    `a' 'b`                 both apostrophes' rules want the one space
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from sacremoses import MosesTokenizer

from .protected_words import PROTECTED_WORDS

_SPACES, _CONTROL = MosesTokenizer.DEDUPLICATE_SPACE[0], MosesTokenizer.ASCII_JUNK[0]
_PROTECTED = re.compile("|".join(PROTECTED_WORDS), re.IGNORECASE)
_CACHED_WORDS = 200_000
# Nine of ten words: for them no rule is needed.
_SIMPLE = re.compile(r"""("?)([a-zA-Z0-9]+(?:-[a-zA-Z0-9]+)*)(?:([,;:!?]?)("?)|(\.))""")
_DIGITS = frozenset("0123456789")


class _PerlTokenizer(MosesTokenizer):
    """sacremoses' rules, each where a character that it needs is in the text.

    Another rule for the periods: the Perl script cuts the period off the last word of a line even
    where that is an abbreviation (`... of a Saturn V .`), sacremoses does not.
    """

    def __init__(self) -> None:
        super().__init__(lang="en")
        self.lower = frozenset(self.IsLower)
        self._letters = frozenset(self.IsAlpha)
        self._before_numbers = frozenset(self.NUMERIC_ONLY_PREFIXES)
        self._always = frozenset(self.NONBREAKING_PREFIXES) - self._before_numbers
        self._special, _ = self.PAD_NOT_ISALNUM
        self._commas = (self.COMMA_SEPARATE_1, self.COMMA_SEPARATE_2, self.COMMA_SEPARATE_3)

    def tokens_of(self, text: str) -> str:
        """The tokens of a text without control characters and white space but spaces."""
        protected = _PROTECTED.findall(text) if "<" in text else []
        if protected:
            marker, width = self.unused_protect_marker(text), max(3, len(str(len(protected))))
            numbers = iter(range(len(protected)))
            text = _PROTECTED.sub(lambda _: f"{marker}{next(numbers):0{width}d}", text)
        text = self._special.sub(lambda match: f" {match[0]} ", text)
        if ".." in text:
            text = self.replace_multidots(text)
        if "," in text:
            for rule, replacement in self._commas:
                text = rule.sub(replacement, text)
        if "'" in text:
            for rule, replacement in self.ENGLISH_SPECIFIC_APOSTROPHE:
                text = rule.sub(replacement, text)
        text = self.handles_nonbreaking_prefixes(text)
        if text.endswith(".'"):
            text = text.removesuffix(".'") + " . ' "
        if protected:
            stand_in = re.compile(rf"{marker}(\d{{{width}}})")
            text = stand_in.sub(lambda match: protected[int(match[1])], text)
        if "MULTI" in text:
            text = self.restore_multidots(text)
        return text

    def handles_nonbreaking_prefixes(self, text: str) -> str:
        words = text.split()
        if "." in text:
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
            or following[0] in self.lower
            or (word in self._before_numbers and following[0] in _DIGITS)
        )


@cache
def _tokenizer() -> _PerlTokenizer:
    return _PerlTokenizer()


def _between(before: str, word: str, after: str) -> str:
    """The tokens of a word between two others, or at the end of a line where one is empty."""
    tokens = _tokenizer().tokens_of(" ".join(filter(None, (before, word, after))))
    start = len(before) + 1 if before else 0
    return tokens[start : -len(after) - 1 if after else None]


_at_an_edge = lru_cache(_CACHED_WORDS)(_between)


class _Words(dict[str, str]):
    """Word -> its tokens between two spaces, as if no word followed on a period."""

    def __missing__(self, word: str) -> str:
        if len(self) >= _CACHED_WORDS:
            self.clear()
        simple = _SIMPLE.fullmatch(word)
        if simple and "MULTI" not in word:  # "DOTMULTI" is sacremoses' word for "."
            tokens = " ".join(filter(None, simple.groups()))
        else:
            tokens = _between("a", word, '"' if word.endswith("'") else "")
        self[word] = tokens
        return tokens


_tokens_of_word = _Words().__getitem__


def tokenize_words(line: str) -> str:
    """`Don't, he said.` -> `Don 't , he said .`; the line has no newline."""
    if not line.isprintable():
        line = _SPACES.sub(" ", line)
        if _CONTROL.search(line):  # without it there may be two spaces, of which the rules take one
            return _tokenizer().tokens_of(_CONTROL.sub("", line).strip())
    words = line.split()
    if len(words) < 2 or ("'" in line and "' '" in " ".join(words)):
        return _tokenizer().tokens_of(" ".join(words))
    tokens = list(map(_tokens_of_word, words))
    if line.count(".") > words[-1].count("."):
        for index, word in enumerate(words[:-1]):
            if word[-1] == ".":
                tokens[index] = _at_an_edge("a", word, _like(words[index + 1]))
    if words[0][0] in ",'":
        tokens[0] = _at_an_edge("", words[0], _like(words[1]))
    if words[-1][-1] == "'":
        tokens[-1] = _at_an_edge("a", words[-1], "")
    return " ".join(tokens)


def _like(word: str) -> str:
    """What a period before this word takes for the same."""
    if word[0] in _tokenizer().lower:
        return "a"
    return "0" if word[0] in _DIGITS else '"'
