"""`--mask-whole-words`: which units of a sentence are one word.

    units                       mark                        a unit begins a word if
    subword-nmt, fastBPE, ours  `lod@@ ge`: goes on         the one before it does not end with @@
    WordPiece (BERT), ours      `lod ##ge`: goes on before  it does not begin with ##
    sentencepiece               `\u2581lod ge`: begins           it begins with \u2581
    GPT-2 and other byte BPE    numbers                     its text, by the files of --bpe, begins
                                                            with a space

A special symbol is a word by itself, and the unit after it begins one. Without --bpe the dictionary
decides: the mark that most of its units have.
"""

from __future__ import annotations

from typing import Any

from .arguments_of_tasks import Arguments

GOES_ON, CONTINUES, BEGINS = range(3)  # what a mark says of its unit
MARKS: dict[str, tuple[int, str]] = {
    "subword_nmt": (GOES_ON, "@@"),
    "fastbpe": (GOES_ON, "@@"),
    "bert": (CONTINUES, "##"),
    "sentencepiece": (BEGINS, "\u2581"),
}


def mask_whole_words_of_every_kind(masked_lm: Any) -> None:
    """AttributeError: 'MaskedLMTask' object has no attribute 'args'

    Where: fairseq/tasks/masked_lm.py:182 asks for the options of `--bpe` where tasks have had none
    since they got a `cfg`; data/encoders/utils.py:22 then asks the encoder whether a unit begins a
    word, which subword-nmt and fastBPE cannot answer: it depends on the unit before.
    When: `--mask-whole-words`.
    Fix: the options of the job that the task belongs to, and an answer for each place of a
    sentence. Neither codes nor vocabulary of `--bpe` are needed where units are marked.
    Upstream: https://github.com/facebookresearch/fairseq/issues/3924
    """
    masked_lm.MaskedLMTask.args = Arguments(_options_of_bpe)
    masked_lm.get_whole_word_mask = word_starts_of


def _options_of_bpe(task: Any) -> Any:
    job = task.cfg._get_parent() if hasattr(task.cfg, "_get_parent") else None
    return None if job is None else job.get("bpe")


class WordStarts:
    """Stands where fairseq has a tensor with one flag for each symbol, and answers as it would.

    Args:
        alone: special symbols.
        begins: symbols that begin a word where the one before lets them.
        goes_on: symbols after which the word goes on.
    """

    def __init__(self, alone: list[bool], begins: list[bool], goes_on: list[bool]) -> None:
        import torch

        self._alone, self._begins, self._goes_on = map(torch.tensor, (alone, begins, goes_on))

    def gather(self, axis: int, units: Any) -> Any:
        """Whether a word begins at each of the units ``(length,)``: 1 or 0."""
        begins = self._begins[units]
        before = units[:-1]
        begins[1:] &= ~self._goes_on[before]
        begins[1:] |= self._alone[before]
        begins |= self._alone[units]
        begins[:1] = True
        return begins.byte()


def word_starts_of(bpe: Any, dictionary: Any) -> WordStarts:
    """Where words begin in units of this dictionary.

    Raises:
        ValueError: neither `--bpe` nor the dictionary tells.
    """
    units = [dictionary[i] for i in range(len(dictionary))]
    alone = [
        i < dictionary.nspecial
        or unit.startswith("madeupword")
        or unit in ("<mask>", "<unk>", "<s>", "</s>", "<pad>")
        for i, unit in enumerate(units)
    ]
    plain = [unit for unit, special in zip(units, alone, strict=True) if not special]
    name = bpe if bpe is None or isinstance(bpe, str) else bpe.get("_name")
    if name is None:
        name = _kind_of(plain)
    if name not in MARKS:
        begins = _asked(bpe, name, units)
        return WordStarts(alone, begins, [False] * len(units))
    says, mark = MARKS[name]
    if name == "subword_nmt" and hasattr(bpe, "get"):
        mark = bpe.get("bpe_separator", mark)
    if says == GOES_ON:
        goes_on = [unit.endswith(mark) for unit in units]
        return WordStarts(alone, [True] * len(units), goes_on)
    if says == CONTINUES:
        begins = [not _continues(unit, mark) for unit in units]
    else:
        begins = [unit.startswith(mark) for unit in units]
    return WordStarts(alone, begins, [False] * len(units))


def _continues(unit: str, mark: str) -> bool:
    return unit.startswith(mark) and len(unit) > len(mark)  # `##` alone is a word of the text


def _kind_of(units: list[str]) -> str:
    counts = {
        name: sum(
            unit.endswith(mark)
            if says == GOES_ON
            else _continues(unit, mark)
            if says == CONTINUES
            else unit.startswith(mark)
            for unit in units
        )
        for name, (says, mark) in MARKS.items()
    }
    likeliest = max(counts, key=lambda name: counts[name])
    if not counts[likeliest]:
        raise ValueError(
            "--mask-whole-words: dict.txt does not tell where words begin: no unit ends with @@ or "
            "begins with ## or \u2581; give the --bpe that made the data (such as --bpe gpt2), or "
            "leave --mask-whole-words out if its units are words"
        )
    return likeliest


def _asked(bpe: Any, name: str, units: list[str]) -> list[bool]:
    """What an encoder says of units that have no mark."""
    from fairseq.data import encoders

    if not hasattr(encoders.BPE_REGISTRY.get(name), "is_beginning_of_word"):
        raise ValueError(
            f"--mask-whole-words: --bpe {name} does not tell where words begin; leave one of them "
            "out"
        )
    encoder = encoders.build_bpe(bpe)

    def begins(unit: str) -> bool:
        try:
            return bool(encoder.is_beginning_of_word(unit))
        except (ValueError, KeyError):  # no unit of this encoder
            return True

    return [begins(unit) for unit in units]
