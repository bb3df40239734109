"""The stand-ins for fairseq's compiled modules against naive loops, and against the compiled ones.

The latter runs where fairseq was built with its extensions; see CONTRIBUTING.md.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

from tests.references import batching
from tupe_plugin.compat import data_utils_fast, token_block_utils_fast

TRIALS = 3000
BREAK_MODES = ("none", "complete", "complete_doc", "eos")


def compiled(name: str) -> ModuleType:
    import fairseq.data

    spec = importlib.machinery.PathFinder.find_spec(f"fairseq.data.{name}", fairseq.data.__path__)
    if spec is None:
        pytest.skip("this fairseq was built without its compiled extensions")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def batching_problems() -> Iterator[tuple[np.ndarray, np.ndarray, int, int, int]]:
    random = np.random.default_rng(0)
    for _ in range(TRIALS):
        lengths = random.integers(1, 20, size=random.integers(0, 41))
        max_tokens = int(random.choice([-1, random.integers(20, 80)]))
        max_sentences = int(random.choice([-1, random.integers(1, 12)]))
        multiple = int(random.choice([1, 2, 3, 8]))
        yield random.permutation(len(lengths)), lengths, max_tokens, max_sentences, multiple


def block_problems() -> Iterator[tuple[np.ndarray, str, int, int]]:
    random = np.random.default_rng(1)
    for _ in range(TRIALS):
        sizes = random.integers(1, 9, size=random.integers(1, 31))
        yield sizes, str(random.choice(BREAK_MODES)), int(random.integers(1, 24)), 1


def as_lists(batches: list[np.ndarray]) -> list[list[int]]:
    return [list(map(int, batch)) for batch in batches]


def test_batches_equal_a_naive_loop() -> None:
    for indices, lengths, *limits in batching_problems():
        expected = batching.batch_by_size(lengths.tolist(), *limits)
        found = data_utils_fast.batch_by_size_vec(indices, lengths, *limits)
        assert as_lists(found) == [[int(indices[k]) for k in batch] for batch in expected]


def test_batches_of_a_length_function_equal_those_of_a_length_vector() -> None:
    for indices, lengths, *limits in batching_problems():
        by_index = dict(zip(indices.tolist(), lengths.tolist(), strict=True))
        found = data_utils_fast.batch_by_size_fn(indices, by_index.__getitem__, *limits)
        expected = data_utils_fast.batch_by_size_vec(indices, lengths, *limits)
        assert as_lists(found) == as_lists(expected)


def test_a_sentence_above_max_tokens_is_refused_with_both_numbers() -> None:
    with pytest.raises(AssertionError, match=r"max_tokens=7; the longest has 11"):
        data_utils_fast.batch_by_size_vec(np.arange(3), np.array([5, 11, 2]), 7, -1, 1)


def test_batches_of_fixed_shapes_fit_and_hold_every_sentence_in_order() -> None:
    random = np.random.default_rng(2)
    shapes = np.array([(8, 4), (4, 8), (2, 16)])
    lengths = random.integers(1, 17, size=53)
    batches = data_utils_fast.batch_fixed_shapes_fast(
        np.arange(53), lambda index: int(lengths[index]), shapes
    )
    assert [index for batch in batches for index in batch] == list(range(53))
    assert all(len(batch) <= 8 for batch in batches)


def test_blocks_equal_a_naive_loop() -> None:
    for sizes, *how in block_problems():
        expected = batching.blocks(sizes.tolist(), *how)
        if not expected:
            with pytest.raises(ValueError, match="no block"):
                token_block_utils_fast._get_slice_indices_fast(sizes, *how)
            continue
        slices = token_block_utils_fast._get_slice_indices_fast(sizes, *how)
        assert slices.dtype == np.int64
        assert list(map(tuple, slices.tolist())) == expected
        found = token_block_utils_fast._get_block_to_dataset_index_fast(sizes, slices)
        wanted = batching.sentences_of_blocks(sizes.tolist(), expected)
        assert list(map(tuple, found.tolist())) == wanted


def test_an_unknown_break_mode_is_named() -> None:
    with pytest.raises(ValueError, match="sentences"):
        token_block_utils_fast._get_slice_indices_fast(np.array([3]), "sentences", 5, 1)


def test_batches_equal_the_compiled_ones() -> None:
    theirs = compiled("data_utils_fast")
    shapes = np.array([(8, 4), (4, 8), (2, 16), (1, 20)])
    for indices, lengths, *limits in batching_problems():
        expected = theirs.batch_by_size_vec(indices, lengths, *limits)
        found = data_utils_fast.batch_by_size_vec(indices, lengths, *limits)
        assert as_lists(found) == as_lists(expected)

        def length_of(index: int, lengths: np.ndarray = lengths) -> int:
            return int(lengths[index])

        found_by_shape = data_utils_fast.batch_fixed_shapes_fast(indices, length_of, shapes)
        assert found_by_shape == theirs.batch_fixed_shapes_fast(indices, length_of, shapes)


def test_blocks_equal_the_compiled_ones() -> None:
    """With empty sentences too, on which the naive loop has nothing to say."""
    theirs = compiled("token_block_utils_fast")
    random = np.random.default_rng(3)
    for sizes, *how in block_problems():
        sizes = np.where(random.random(len(sizes)) < 0.2, 0, sizes)
        try:
            expected = theirs._get_slice_indices_fast(sizes, *how)
        except ValueError:  # no block at all
            with pytest.raises(ValueError, match="no block"):
                token_block_utils_fast._get_slice_indices_fast(sizes, *how)
            continue
        found = token_block_utils_fast._get_slice_indices_fast(sizes, *how)
        assert found.tolist() == expected.tolist()
        expected_sentences = theirs._get_block_to_dataset_index_fast(sizes, expected)
        found_sentences = token_block_utils_fast._get_block_to_dataset_index_fast(sizes, found)
        assert found_sentences.tolist() == expected_sentences.tolist()
