"""Memory of `tupe import` and `tupe export`, as the benchmark counts it."""

from __future__ import annotations

import pytest

from benchmarks.bench_import import measure, ratio, weights_of
from tests.checkpoint.packaged_models import mpnet


@pytest.mark.slow
@pytest.mark.large
def test_weights_are_in_memory_once() -> None:
    source = mpnet()
    (bare,), (imported,), (exported,) = measure(source).values()
    size = weights_of(source).stat().st_size
    assert 1 < ratio(imported, bare, size) <= 1.3
    assert 1 < ratio(exported, bare, size) <= 1.3
