"""The steps of `tupe data` and the tools that do the same, each as a program of its own.

Every program gets the file to read, the file or prefix to write, and a codes file where it needs
one. What must be equal is compared: the BPE's lines and the bytes of fairseq's files.
"""

from __future__ import annotations

import filecmp
from pathlib import Path
from typing import NamedTuple

from benchmarks.measurement import cost_of

MERGES = 10_000

_OUR_LINES = """
import sys
from tupe_plugin.data.text.normalize_punctuation import normalize_punctuation
from tupe_plugin.data.text.tokenize_words import tokenize_words
with open(sys.argv[1], encoding="utf-8") as lines, open(sys.argv[2], "w", encoding="utf-8") as sink:
    for line in lines:
        sink.write(tokenize_words(normalize_punctuation(line.strip())).strip() + "\\n")
"""
_SACREMOSES = """
import os, sys
os.dup2(os.open(sys.argv[1], os.O_RDONLY), 0)
os.dup2(os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), 1)
sys.argv = "sacremoses -q -l en -j 1 normalize -q -d tokenize".split()
from sacremoses.cli import cli
cli()
"""
_OUR_LEARNING = f"""
import sys
from pathlib import Path
from tupe_plugin.data.units.learn_bpe import learn_bpe
merges = learn_bpe([Path(sys.argv[1])], num_merges={MERGES})
codes = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
Path(sys.argv[2]).write_text("\\n".join(codes) + "\\n", encoding="utf-8")
"""
_SUBWORD_NMT = """
import sys
sys.argv = ["subword-nmt", {arguments}]
from subword_nmt.subword_nmt import main
main()
"""
_THEIR_LEARNING = _SUBWORD_NMT.format(
    arguments=f'"learn-bpe", "-s", "{MERGES}", "-i", sys.argv[1], "-o", sys.argv[2]'
)
_THEIR_APPLYING = _SUBWORD_NMT.format(
    arguments='"apply-bpe", "-c", sys.argv[3], "-i", sys.argv[1], "-o", sys.argv[2]'
)
_OUR_APPLYING = """
import sys
from pathlib import Path
from tupe_plugin.data.units.apply_bpe import BytePairEncoder, read_codes
encode = BytePairEncoder(read_codes(Path(sys.argv[3])))
with open(sys.argv[1], encoding="utf-8") as lines, open(sys.argv[2], "w", encoding="utf-8") as sink:
    for line in lines:
        sink.write(encode(line) + "\\n")
"""
_TOKENIZERS_LEARNING = f"""
import sys
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
trainer = trainers.BpeTrainer(
    vocab_size={MERGES}, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False
)
tokenizer.train([sys.argv[1]], trainer)
tokenizer.save(sys.argv[2])
"""
_TOKENIZERS_ENCODING = """
import sys
import numpy as np
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[3])
with open(sys.argv[1], encoding="utf-8") as file, open(sys.argv[2], "wb") as sink:
    while lines := file.readlines(1 << 20):
        for encoded in tokenizer.encode_batch_fast([line.rstrip("\\n") for line in lines]):
            sink.write(np.array(encoded.ids, np.uint16).tobytes())
"""
_OUR_FILES = """
import sys
from pathlib import Path
from tupe_plugin.data.worker_pool import WorkerPool
from tupe_plugin.data.write.binarize_texts import binarize_texts
texts = {"train": Path(sys.argv[1])}
binarize_texts(texts, Path(sys.argv[2]), WorkerPool(1), dictionary=None)
"""
_FAIRSEQ_FILES = """
import sys
from tupe_plugin import use_with_fairseq
use_with_fairseq()
sys.argv = ["", "--only-source", "--trainpref", sys.argv[1], "--destdir", sys.argv[2]]
from fairseq_cli.preprocess import cli_main
cli_main()
"""


class Comparison(NamedTuple):
    step: str
    ours: float
    tool: str
    theirs: float
    """Processor seconds of the whole program, its start included."""


def compare(text: Path, folder: Path) -> list[Comparison]:
    """All steps, from one text; the folder takes what is written.

    Raises:
        SystemExit: a program fails, or two that must write the same do not.
    """

    def run(program: str, *words: object) -> float:
        return cost_of("-c", program, *words).cpu_seconds

    tokens, codes, units = folder / "tokens", folder / "codes", folder / "units"
    hf, their_units = folder / "tokenizer.json", folder / "their-units"
    ours, theirs = folder / "ours", folder / "theirs"
    found = [
        Comparison(
            "normalise, tokenise",
            run(_OUR_LINES, text, tokens),
            "sacremoses normalize tokenize",
            run(_SACREMOSES, text, folder / "their-tokens"),
        )
    ]
    learning, applying = run(_OUR_LEARNING, tokens, codes), run(_OUR_APPLYING, tokens, units, codes)
    files = run(_OUR_FILES, units, ours)
    found += [
        Comparison(
            f"learn {MERGES} merges",
            learning,
            "subword-nmt learn-bpe",
            run(_THEIR_LEARNING, tokens, folder / "their-codes"),
        ),
        Comparison(
            "the same",
            learning,
            "tokenizers train",
            run(_TOKENIZERS_LEARNING, tokens, hf),
        ),
        Comparison(
            "apply them",
            applying,
            "subword-nmt apply-bpe",
            run(_THEIR_APPLYING, tokens, their_units, codes),
        ),
        Comparison(
            "the same, dictionary and numbers",
            applying + files,
            "tokenizers encode_batch_fast",
            run(_TOKENIZERS_ENCODING, tokens, folder / "their-numbers", hf),
        ),
        Comparison(
            "dictionary and numbers",
            files,
            "fairseq-preprocess",
            run(_FAIRSEQ_FILES, units, theirs),
        ),
    ]
    pairs = [(units, their_units)]
    pairs += [(ours / name, theirs / name) for name in ("dict.txt", "train.bin", "train.idx")]
    for one, other in pairs:
        if not filecmp.cmp(one, other, shallow=False):
            raise SystemExit(f"{one} and {other} differ")
    return found
