"""numpy >= 1.24 has dropped aliases that fairseq uses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from .module_view import ModuleView

MODULES = (
    "fairseq.data.data_utils",
    "fairseq.data.language_pair_dataset",
    "fairseq.data.token_block_dataset",
    "fairseq.modules.dynamic_crf_layer",
)


def restore_dropped_numpy_names(module: Any) -> None:
    """`AttributeError: module 'numpy' has no attribute 'compat'` (or `'int'`, `'float'`).

    Where: fairseq/data/token_block_dataset.py:125 (`--sample-break-mode eos`),
    data/language_pair_dataset.py:292, data/data_utils.py:488, modules/dynamic_crf_layer.py:108.
    When: numpy >= 1.24 for `np.int` and `np.float`, numpy >= 2.0 for `np.compat`.
    Fix: these modules see the builtin types under the old names, as numpy defined them; numpy
    itself is left alone.
    Upstream: https://github.com/facebookresearch/fairseq/issues/4945
    """
    import numpy

    module.np = ModuleView(numpy, int=int, float=float, compat=SimpleNamespace(long=int))
