"""The steps by name, and a chain of them: what `--steps a,b,c` runs, in this order.

A step is a pure function. Most map a line to a line and serve pre-training and GLUE alike; those of
documents drop, cut or join lines, so only `clean_documents` runs them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from .line_steps import LINE_STEPS as SHARED_LINE_STEPS
from .line_steps import LineStep, UnitFiles
from .text.filter_paragraphs import Limits, fault_of
from .text.merge_short_sentences import merge_short_sentences
from .text.segment_sentences import segment_sentences
from .units.split_long_lines import split_long_line

# Passages (lists of lines) in, as many passages out; counts what it drops.
Step = Callable[[list[list[str]], Counter[str]], list[list[str]]]


@dataclass(frozen=True)
class Chain:
    """Which steps run, in which order; picklable, so that every worker builds its own."""

    steps: tuple[str, ...]
    files: UnitFiles = field(default_factory=UnitFiles)
    max_line_tokens: int | None = None
    language: str = "en"
    min_sentence_words: int = 5
    limits: Limits = field(default_factory=Limits)

    def build(self) -> dict[str, Step]:
        """The steps by name, in order.

        Raises:
            ValueError: a step that does not exist, is there twice, or lacks what it needs.
        """
        unknown = [step for step in self.steps if step not in STEPS]
        if unknown:
            raise ValueError(f"no step {unknown[0]!r}; the steps are {', '.join(STEPS)}")
        if len(set(self.steps)) < len(self.steps):
            raise ValueError(f"a step is there twice: {', '.join(self.steps)}")
        return {step: STEPS[step](self) for step in self.steps}


def of_lines(step: LineStep) -> Step:
    """A step out of a function of lines that keeps their number: one call for the block."""

    def of_passages(passages: list[list[str]], counts: Counter[str]) -> list[list[str]]:
        mapped = iter(step([line for lines in passages for line in lines]))
        return [[next(mapped) for _ in lines] for lines in passages]

    return of_passages


def each_passage(function: Callable[[list[str]], list[str]]) -> Step:
    """A step out of a function of one passage's lines."""

    def step(passages: list[list[str]], counts: Counter[str]) -> list[list[str]]:
        return [function(lines) for lines in passages]

    return step


def _filter_paragraphs(chain: Chain) -> Step:
    def step(passages: list[list[str]], counts: Counter[str]) -> list[list[str]]:
        kept: list[list[str]] = []
        for lines in passages:
            faults = [fault_of(line, chain.limits) for line in lines]
            counts.update(f"paragraphs dropped: {fault}" for fault in faults if fault)
            kept.append([line for line, fault in zip(lines, faults, strict=True) if not fault])
        return kept

    return step


def _segment_sentences(chain: Chain) -> Step:
    return each_passage(
        lambda lines: [
            sentence
            for line in lines
            for sentence in segment_sentences(line, language=chain.language)
        ]
    )


def _merge_short_sentences(chain: Chain) -> Step:
    return each_passage(
        lambda lines: merge_short_sentences(
            [line for line in lines if line], min_words=chain.min_sentence_words
        )
    )


def _split_long_lines(chain: Chain) -> Step:
    limit = chain.max_line_tokens
    if limit is None or limit < 1:
        raise ValueError(f"split_long_lines needs --max-line-tokens of at least 1, not {limit}")
    return of_lines(lambda lines: [split_long_line(line, max_tokens=limit) for line in lines])


def _shared(name: str) -> Callable[[Chain], Step]:
    """A step of the package, which a raw sentence goes through as well."""
    return lambda chain: of_lines(SHARED_LINE_STEPS[name](chain.files))


LINE_STEPS: dict[str, Callable[[Chain], Step]] = {
    **{name: _shared(name) for name in SHARED_LINE_STEPS},
    "split_long_lines": _split_long_lines,
}
DOCUMENT_STEPS: dict[str, Callable[[Chain], Step]] = {
    "filter_paragraphs": _filter_paragraphs,
    "segment_sentences": _segment_sentences,
    "merge_short_sentences": _merge_short_sentences,
}
STEPS = {**LINE_STEPS, **DOCUMENT_STEPS}
