"""Stand-ins for the two compiled modules of fairseq that training needs."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
from collections.abc import Sequence
from types import ModuleType

STAND_INS = ("data_utils_fast", "token_block_utils_fast")


class StandInFinder:
    """Comes last in `sys.meta_path`, so it is asked only where there is no compiled module.

    Where: fairseq/data/data_utils.py:312 and data/token_block_dataset.py:90 import them.
    When: fairseq was built without its extensions, as `READTHEDOCS=1 pip install` does: then there
    is no wheel for today's Python to wait for, and no compiler is needed.
    Upstream: https://github.com/facebookresearch/fairseq/issues/2133 and 1376
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, stem = name.rpartition(".")
        if package != "fairseq.data" or stem not in STAND_INS:
            return None
        return importlib.util.spec_from_file_location(
            name, os.path.join(os.path.dirname(__file__), f"{stem}.py")
        )
