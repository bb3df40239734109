"""Sentences that are longer than the model allows: what a task of the older kind advises."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary, TokenBlockDataset
from fairseq.tasks.language_modeling import LanguageModelingTask
from fairseq.tasks.translation import TranslationConfig, TranslationTask

from tupe_plugin.compat.refused_job import RefusedJobError


def language_modeling(break_mode: str | None) -> LanguageModelingTask:
    args = Namespace(
        tokens_per_sample=1024,
        sample_break_mode=break_mode,
        output_dictionary_size=-1,
        add_bos_token=False,
        future_target=False,
        past_target=False,
        self_target=False,
    )
    words = Dictionary()
    return LanguageModelingTask(args, words, words)


def lines_of(*lengths: int) -> TokenBlockDataset:
    lines = [torch.zeros(length, dtype=torch.long) for length in lengths]
    return TokenBlockDataset(lines, list(lengths), 1024, pad=1, eos=2, break_mode="eos")


@pytest.mark.parametrize("no_mode", ["none", None])
def test_blocks_of_a_language_model_advise_a_shorter_block(no_mode: str | None) -> None:
    """`fairseq-eval-lm` cuts text by --tokens-per-sample, 1024 if not given, whatever the model."""
    task = language_modeling(no_mode)
    blocks = task.datasets["test"] = lines_of(700)
    with pytest.raises(RefusedJobError) as refusal:
        task.filter_indices_by_size(np.array([0]), blocks, 500, ignore_invalid_inputs=True)
    assert str(refusal.value) == (
        "test: 1 of 1 blocks are longer than 500 tokens, none is left: give --tokens-per-sample "
        "500 or less, by which text is cut into blocks"
    )


def test_lines_of_a_language_model_advise_to_cut_them() -> None:
    task = language_modeling("eos")
    with pytest.raises(RefusedJobError, match=r"1 of 2 blocks .*number 0: .*-break-mode none, "):
        task.filter_indices_by_size(np.array([0, 1]), lines_of(700, 7), 500)


@pytest.mark.parametrize(
    ("limit", "advice"),
    [
        ((5, 1024), "raise --max-source-positions or --max-target-positions;"),
        ({"de-en": (5, 6)}, "raise --max-source-positions;"),
        ((4, 4), "raise --max-tokens, or the limit with which the model was trained;"),
    ],
)
def test_pairs_advise_the_limit_that_they_reach(limit: Any, advice: str) -> None:
    words = Dictionary()
    config = TranslationConfig(max_source_positions=5, max_target_positions=1024)
    with pytest.raises(RefusedJobError, match=advice):
        TranslationTask(config, words, words).filter_indices_by_size(
            np.array([0, 1]), OneTooLong(), limit
        )


class OneTooLong:
    """Of two sentences, by whatever limit."""

    def filter_indices_by_size(self, indices: Any, limit: Any) -> tuple[Any, Any]:
        return indices[1:], [0]
