"""The code blocks of a Markdown document, read by Sybil: `console` and `python` are run.

A block without a language is a picture or a program's output. A block that cannot be run here is
marked in the document, just before it, with the reason; the comment is not seen on the page:

    <!-- skip: next "not run: it needs a Slurm cluster" -->
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from unittest import SkipTest

from sybil import Document, Example, Region
from sybil.evaluators.skip import Skipper
from sybil.parsers.markdown import SkipParser
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

PROMPT = "$ "
FILES_AS_WORDS = re.compile(r"\$\(cat ([\w./ -]+)\)")
"""All that is run of a shell's substitutions: the words of some files."""
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)")


class Command(NamedTuple):
    """A line after a prompt, without its comment."""

    environment: dict[str, str]
    words: list[str]


class FenceParser:
    """Yields every fenced block, whatever its language is."""

    def __init__(self, runners: Mapping[str, Callable[[Example], None]]) -> None:
        self._lexer = RawFencedCodeBlockLexer(re.compile(r"(?P<language>[^\n]*)\n"))
        self._runners = runners

    def __call__(self, document: Document) -> Iterable[Region]:
        for region in self._lexer(document):
            region.parsed = str(region.lexemes["source"])
            region.evaluator = self._runners.get(region.lexemes["language"].strip(), _refuse)
            yield region


def _refuse(example: Example) -> str:
    language = example.region.lexemes["language"].strip()
    return f"no test runs blocks of {language!r}: write console or python, or mark it as not run"


def run_blocks(
    path: Path, *, console: Callable[[Command], None], python: Callable[[str], None]
) -> list[str]:
    """Run the blocks of a document in their order; return the reasons of those that are not run.

    Raises:
        AssertionError: a block is neither run nor marked, or it is marked without a reason.
    """

    def run_console(example: Example) -> None:
        for command in commands_of(example.parsed):
            console(command)

    def run_python(example: Example) -> None:
        python(example.parsed)

    runners = {"console": run_console, "python": run_python, "": lambda example: None}
    reasons = []
    for example in Document.parse(str(path), SkipParser(), FenceParser(runners)):
        if isinstance(example.region.evaluator, Skipper):
            action, reason = example.parsed
            assert action == "next", f"{path}:{example.line}: only `skip: next` is used here"
            assert reason, f"{path}:{example.line}: say why the block is not run"
        try:
            example.evaluate()
        except SkipTest as skipped:
            reasons.append(str(skipped))
    return reasons


def commands_of(block: str) -> Iterator[Command]:
    """The commands of a `console` block; what is not after a prompt is output.

    Raises:
        ValueError: there is none, or one wants more of a shell than words and variables.
    """
    lines = [line for line in block.replace("\\\n", " ").splitlines() if line.startswith(PROMPT)]
    if not lines:
        raise ValueError(f"a console block without {PROMPT!r}")
    for line in lines:
        quoted = FILES_AS_WORDS.sub(r"'\g<0>'", line.removeprefix(PROMPT))
        lexer = shlex.shlex(quoted, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        environment = {}
        while words and (assignment := ASSIGNMENT.fullmatch(words[0])):
            environment[assignment[1]] = assignment[2]
            del words[0]
        if any(set(word) <= set("();<>|&") for word in words if word):
            raise ValueError(f"only a shell could run this line: {line}")
        yield Command(environment, words)
