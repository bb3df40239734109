"""Record in a folder of data what another sentence must go through to look the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from ..line_steps import UnitFiles
from ..treatment import CODES, GPT2_ENCODER, GPT2_MERGES, GPT2_ORDER, STEPS, VOCABULARY


def record_treatment(folder: Path, line_steps: Iterable[str], files: UnitFiles) -> None:
    """What `data.treatment` reads: the steps by name, and the files that cut a word into units."""
    (folder / STEPS).write_text(",".join(line_steps) + "\n", encoding="utf-8")
    copies = {
        "apply_bpe": {CODES: files.bpe_codes},
        "apply_wordpiece": {VOCABULARY: files.vocab},
        "apply_gpt2_bpe": {GPT2_ENCODER: files.vocab, GPT2_MERGES: files.bpe_codes},
    }[files.step]
    for name, path in copies.items():
        if path is not None:
            shutil.copyfile(path, folder / name)
            order = path.with_name(GPT2_ORDER)
            if name == GPT2_ENCODER and order.is_file():
                shutil.copyfile(order, folder / GPT2_ORDER)
