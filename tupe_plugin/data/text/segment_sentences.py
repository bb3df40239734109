"""Cut paragraphs into sentences, by the rules of `sentencex` (Rust; no model to download)."""

from __future__ import annotations

import sentencex

from .single_spaces import single_spaces


def segment_sentences(paragraph: str, *, language: str = "en") -> list[str]:
    """`He left. Dr. No stayed.` -> `He left.`, `Dr. No stayed.`; no character but space is lost."""
    # sentencex 1.0.32 panics at a wide space before a period: it takes it for one byte.
    paragraph = single_spaces(paragraph)
    try:
        sentences = [sentence.strip() for sentence in sentencex.segment(language, paragraph)]
    except BaseException as error:
        # Should it panic elsewhere: a paragraph in one piece, not the end of a job of hours.
        if type(error).__name__ != "PanicException":
            raise
        return [paragraph] if paragraph else []
    return [sentence for sentence in sentences if sentence]
