"""Newer versions of numpy have dropped names that fairseq uses."""

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
    """`AttributeError: module 'numpy' has no attribute 'compat'` (or `'int'`, `'float'`),
    `TypeError: percentile() got an unexpected keyword argument 'interpolation'`.

    Where: fairseq/data/token_block_dataset.py:125 (`--sample-break-mode eos`),
    data/language_pair_dataset.py:292, data/data_utils.py:488, modules/dynamic_crf_layer.py:108;
    data/data_utils.py:560 (`--num-batch-buckets`).
    When: numpy >= 1.24 for `np.int` and `np.float`, numpy >= 2.0 for `np.compat`, numpy >= 2.4 for
    `interpolation`, which numpy 1.22 has called `method`.
    Fix: these modules see the builtin types under the old names, as numpy defined them, and a
    function that knows both words; numpy itself is left alone.
    Upstream: https://github.com/facebookresearch/fairseq/issues/4945
    """
    import numpy

    def percentile(*arguments: Any, interpolation: str | None = None, **named: Any) -> Any:
        if interpolation is not None:
            named["method"] = interpolation
        return numpy.percentile(*arguments, **named)

    names = {"int": int, "float": float, "compat": SimpleNamespace(long=int)}
    module.np = ModuleView(numpy, percentile=percentile, **names)
