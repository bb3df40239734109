"""The options of the programs that make data which say what text becomes units by.

They are the same for pre-training text and task data, so that a word looks the same in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core.bounds import OneOf
from .dictionary_file import NAME as DICTIONARY
from .line_steps import UnitFiles
from .option_flags import File, flag_option, switch
from .treatment import STEPS, TreatmentError, read_line_steps, unit_files_in

_TEXT = ("replace_addresses", "clean_punctuation")
LINE_STEPS = {  # tokenizer -> what keeps a line a line, in order
    "moses": (
        *_TEXT,
        *("normalize_punctuation", "remove_nonprinting", "tokenize_words", "lowercase_text"),
    ),
    "perl": (
        *(*_TEXT, "perl_normalize_punctuation", "perl_remove_nonprinting"),
        *("perl_tokenize_words", "lowercase_text"),
    ),
    "wordpiece": ("apply_wordpiece",),  # BERT's own treatment of the text is a part of it
    "gpt2": ("apply_gpt2_bpe",),  # there is none
}
WORD_STEPS = ("tokenize_words", "perl_tokenize_words", "apply_wordpiece", "apply_gpt2_bpe")
_GROUP = "units and dictionary"


class UsageError(ValueError):
    """Options that do not go together; the message says what to give."""


@dataclass(frozen=True)
class UnitOptions:
    """Declared once for both programs."""

    data_bin: Path | None = flag_option(
        None,
        File(),
        "a folder that this program or `tupe import` made: take its text treatment, its units and "
        "its dictionary",
        group=_GROUP,
        metavar="DIR",
    )
    tokenizer: str | None = flag_option(
        None,
        OneOf(tuple(LINE_STEPS)),
        "sacremoses (default); the Perl scripts of mosesdecoder; the WordPiece units of a BERT, "
        "with its --vocab; or the BPE of GPT-2 and RoBERTa, with --vocab encoder.json --bpe-codes "
        "vocab.bpe and --dict",
        group=_GROUP,
    )
    vocab: Path | None = flag_option(
        None, File(), "a BERT's vocab.txt, or GPT-2's encoder.json", group=_GROUP
    )
    cased: bool = switch("WordPiece keeps case and accents", group=_GROUP)
    bpe_codes: Path | None = flag_option(
        None,
        File(),
        "use these merges (format of subword-nmt or fastBPE, or GPT-2's vocab.bpe)",
        group=_GROUP,
    )
    dict: Path | None = flag_option(None, File(), "use this fairseq dictionary", group=_GROUP)
    authors_dict: Path | None = flag_option(
        None,
        File(),
        "the same for a dictionary of the original TUPE code, which leaves out its special symbols "
        "<file>, <email>, <url>: they are put first",
        group=_GROUP,
    )


@dataclass(frozen=True)
class Units:
    """What the options come to."""

    tokenizer: str
    line_steps: tuple[str, ...]
    """What a line goes through, as cleaning.txt records it: for BPE, up to the words."""
    files: UnitFiles
    dictionary: Path | None
    authors_dictionary: Path | None

    @property
    def learns_bpe(self) -> bool:
        """Whether the merges must still be learned."""
        return self.tokenizer in ("moses", "perl") and self.files.bpe_codes is None

    @property
    def makes_dictionary(self) -> bool:
        """Whether the dictionary is written from another file."""
        from_vocab = self.tokenizer == "wordpiece" and self.dictionary is None
        return from_vocab or self.authors_dictionary is not None

    @property
    def unit_steps(self) -> tuple[str, ...]:
        """What is still to be done to a line after `line_steps`."""
        return ("apply_bpe",) if self.tokenizer in ("moses", "perl") else ()


def units_of(options: UnitOptions) -> Units:
    """What the options come to, the records of --data-bin read.

    Raises:
        UsageError: they do not go together.
        TreatmentError: the record is damaged.
    """
    if options.dict and options.authors_dict:
        raise UsageError("give --dict or --authors-dict, not both")
    if options.data_bin is not None:
        return _units_in(options, options.data_bin)
    tokenizer = options.tokenizer or "moses"
    codes, vocab = options.bpe_codes, options.vocab
    if tokenizer == "wordpiece":
        if vocab is None:
            raise UsageError("--tokenizer wordpiece needs --vocab FILE, a BERT vocab.txt")
        if codes or options.authors_dict:
            raise UsageError(
                "--tokenizer wordpiece takes its units from --vocab: no --bpe-codes, --authors-dict"
            )
    elif tokenizer == "gpt2":
        if not (vocab and codes and options.dict):
            raise UsageError(
                "--tokenizer gpt2 needs --vocab encoder.json, --bpe-codes vocab.bpe and --dict"
            )
    elif vocab or options.cased:
        raise UsageError("--vocab and --cased are for --tokenizer wordpiece")
    return Units(
        tokenizer,
        LINE_STEPS[tokenizer],
        UnitFiles(codes, vocab, options.cased),
        options.dict,
        options.authors_dict,
    )


def _units_in(options: UnitOptions, folder: Path) -> Units:
    if options.tokenizer or options.vocab or options.cased:
        raise UsageError("the tokenizer is that of --data-bin")
    files = unit_files_in(folder)
    tokenizer = {"apply_wordpiece": "wordpiece", "apply_gpt2_bpe": "gpt2"}.get(files.step, "moses")
    line_steps = read_line_steps(folder)
    if options.bpe_codes:
        if files.step != "apply_bpe":
            raise UsageError(f"{folder} has units of its own: no --bpe-codes")
        files = replace(files, bpe_codes=options.bpe_codes)
    if line_steps is not None and files.step != "apply_bpe" and files.step not in line_steps:
        raise TreatmentError(f"{folder / STEPS} has no {files.step}, which its vocabulary is for")
    dictionary = options.dict or (None if options.authors_dict else folder / DICTIONARY)
    return Units(
        tokenizer,
        LINE_STEPS[tokenizer] if line_steps is None else line_steps,
        files,
        dictionary,
        options.authors_dict,
    )


def is_word_step(step: str) -> bool:
    """Whether the step gives words or units: what is to be done to text comes before."""
    return step in WORD_STEPS


def files_of_units(units: Units) -> dict[str, Sequence[Path]]:
    """The files of the user that are read, by the names of their options."""
    merges = "gpt2_merges" if units.tokenizer == "gpt2" else "bpe_codes"
    given: dict[str, Any] = {
        "vocab": units.files.vocab,
        merges: units.files.bpe_codes,
        "dict": units.dictionary,
        "authors_dict": units.authors_dictionary,
    }
    return {name: [path] for name, path in given.items() if path is not None}
