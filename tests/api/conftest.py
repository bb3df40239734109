"""A task and two models that the tests here share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tupe_plugin import TupeModel

from .trained_models import fine_tuned, pre_trained, write_corpus, write_task


@pytest.fixture(scope="session")
def singles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task(tmp_path_factory.mktemp("singles"), kind="bpe", pairs=False)


@pytest.fixture(scope="session")
def classifier(singles: Path) -> TupeModel:
    return TupeModel.from_pretrained(fine_tuned(singles.parent / "run/checkpoint_best.pt", singles))


@pytest.fixture(scope="session")
def masked_lm(singles: Path) -> TupeModel:
    data = write_corpus(singles.parent, singles)
    return TupeModel.from_pretrained(pre_trained(singles.parent / "pre/checkpoint_last.pt", data))
