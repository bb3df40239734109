"""Stand-ins for the compiled modules of fairseq."""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

from .module_view import ModuleView

STAND_INS = (
    "fairseq.data.data_utils_fast",
    "fairseq.data.token_block_utils_fast",
    "fairseq.libbleu",
    "fairseq.libnat",
)


class StandInFinder:
    """Comes last in `sys.meta_path`, so it is asked only where there is no compiled module.

    Where: fairseq/data/data_utils.py:312 and data/token_block_dataset.py:90, whenever data are
    batched; scoring/bleu.py:91, `fairseq-generate`; models/nat/levenshtein_utils.py:25 and
    insertion_transformer.py:57, models that insert and delete.
    When: fairseq was built without its extensions, as `READTHEDOCS=1 pip install` does: then there
    is no wheel for today's Python to wait for, and no compiler is needed. pip builds `libnat` in
    no case, because there is no torch where it builds.
    Upstream: https://github.com/facebookresearch/fairseq/issues/2133, 1376 and 2427
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in STAND_INS:
            return None
        stem = name.rpartition(".")[2]
        return importlib.util.spec_from_file_location(
            name, os.path.join(os.path.dirname(__file__), f"{stem}.py")
        )


def load_a_library_in_python(bleu: Any) -> None:
    """`OSError: ... libbleu.py: invalid ELF header`.

    Where: fairseq/scoring/bleu.py:98 has ctypes load the file of `libbleu`.
    When: the module found is the stand-in.
    Fix: it is the library itself; its functions take what ctypes hands over.
    """
    import ctypes

    load = ctypes.cdll.LoadLibrary

    @functools.wraps(load)
    def load_library(path: str) -> Any:
        module = sys.modules.get("fairseq.libbleu")
        is_stand_in = str(path).endswith(".py") and path == getattr(module, "__file__", None)
        return module if is_stand_in else load(path)

    bleu.ctypes = ModuleView(ctypes, cdll=SimpleNamespace(LoadLibrary=load_library))
