"""Cut a line into the units of GPT-2's BPE, as the numbers that fairseq's RoBERTa dictionary lists.

`encoder.json` has the number of each unit, `vocab.bpe` the merges, as fairseq's `--bpe gpt2` reads
them; `tupe import` writes both for a RoBERTa. The merging is done by Hugging Face `tokenizers`.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers


class BadGPT2FilesError(ValueError):
    """Files that cannot be used; the message names the file."""


class GPT2Encoder:
    """`encoder(line)` -> its units as numbers, separated by spaces."""

    def __init__(self, encoder: Path, merges: Path) -> None:
        try:
            vocabulary = json.loads(encoder.read_text(encoding="utf-8-sig"))
            lines = merges.read_text(encoding="utf-8-sig").split("\n")
            rules = [line for line in lines if line and not line.startswith("#version")]
            pairs = [(left, right) for left, right in (rule.split(" ") for rule in rules)]
            self._tokenizer = Tokenizer(models.BPE(vocabulary, pairs))
        except Exception as error:  # tokenizers raises nothing narrower
            if isinstance(error, OSError):
                raise
            raise BadGPT2FilesError(
                f"{encoder} and {merges} are no BPE of GPT-2 ({' '.join(str(error).split())})"
            ) from error
        self._tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)

    def __call__(self, line: str) -> str:
        return " ".join(map(str, self._tokenizer.encode(line, add_special_tokens=False).ids))
