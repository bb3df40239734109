"""The stand-ins for fairseq's compiled modules against naive loops, and against the compiled ones.

The latter runs where fairseq was built with its extensions; see CONTRIBUTING.md.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.machinery
import importlib.util
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import torch

from tests.references import batching, edit_paths
from tupe_plugin.compat import data_utils_fast, libbleu, libnat, token_block_utils_fast

TRIALS = 3000
BREAK_MODES = ("none", "complete", "complete_doc", "eos")


def compiled(name: str) -> ModuleType:
    package, _, _ = name.rpartition(".")
    path = importlib.import_module(package).__path__
    spec = importlib.machinery.PathFinder.find_spec(name, path)
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


def sentence_pairs(number: int) -> Iterator[tuple[list[int], list[int]]]:
    """Of few words, with `<pad>` 1 around them and `</s>` 2 at their ends."""
    random = np.random.default_rng(4)
    for _ in range(number):
        reference, hypothesis = (
            [1] * random.integers(3)
            + random.integers(3, 9, size=random.integers(1, 13)).tolist()
            + [2] * random.integers(2)
            + [1] * random.integers(3)
            for _ in range(2)
        )
        yield reference, hypothesis if random.random() < 0.9 else reference


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
    theirs = compiled("fairseq.data.data_utils_fast")
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
    theirs = compiled("fairseq.data.token_block_utils_fast")
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


def test_bleu_is_that_of_sacrebleu() -> None:
    """Of words whose pairs have different hashes."""
    import sacrebleu
    from fairseq.scoring.bleu import BleuConfig, Scorer

    scorer = Scorer(BleuConfig(pad=1, eos=2, unk=3))
    references, hypotheses = [], []
    for reference, hypothesis in sentence_pairs(100):
        scorer.add(torch.tensor(reference).int(), torch.tensor(hypothesis).int())
        # An unknown word of the reference is none of the hypothesis.
        references.append(
            " ".join("?" if word == 3 else str(word) for word in reference if word > 2)
        )
        hypotheses.append(" ".join(str(word) for word in hypothesis if word > 2))
    theirs = sacrebleu.corpus_bleu(hypotheses, [references], tokenize="none", force=True)
    ours = {name: getattr(scorer.stat, name) for name, _ in scorer.stat._fields_}
    assert [ours[f"match{order}"] for order in (1, 2, 3, 4)] == theirs.counts
    assert [ours[f"count{order}"] for order in (1, 2, 3, 4)] == theirs.totals
    assert (ours["predlen"], ours["reflen"]) == (theirs.sys_len, theirs.ref_len)
    assert scorer.score() == pytest.approx(theirs.score)


def test_empty_sentences_count_for_nothing_and_of_an_ended_one_a_word_is_left() -> None:
    from fairseq.scoring.bleu import BleuStat

    for words, length in (([], 0), ([1, 1], 0), ([2], 1), ([1, 2, 2], 1)):
        stat = BleuStat()
        array = (ctypes.c_int * len(words))(*words)
        sentence = ctypes.c_size_t(len(words)), ctypes.cast(array, ctypes.c_void_p)
        libbleu.bleu_one_init(ctypes.byref(stat))
        libbleu.bleu_add(ctypes.byref(stat), *sentence, *sentence, ctypes.c_int(1), ctypes.c_int(2))
        assert (stat.reflen, stat.predlen, stat.match1, stat.match2) == (*[length] * 3, 1)


def test_bleu_equals_the_compiled_one() -> None:
    """With words that have a hash in common with others."""
    from fairseq.scoring.bleu import BleuStat

    theirs = ctypes.cdll.LoadLibrary(compiled("fairseq.libbleu").__file__)
    counts = {}
    for library in (theirs, libbleu):
        stat = BleuStat()
        library.bleu_one_init(ctypes.byref(stat))
        for pair in sentence_pairs(TRIALS):
            scattered = [torch.tensor(words).int() for words in pair]
            for words in scattered:
                words[words > 3] *= 1009
                words[words == 3] = -999
            sentences = [
                part
                for words in scattered
                for part in (ctypes.c_size_t(len(words)), ctypes.c_void_p(words.data_ptr()))
            ]
            library.bleu_add(ctypes.byref(stat), *sentences, ctypes.c_int(1), ctypes.c_int(2))
        counts[library] = [getattr(stat, name) for name, _ in stat._fields_]
    assert counts[theirs] == counts[libbleu]


def test_edits_equal_naive_ones() -> None:
    """Without extensions; pip builds no `libnat` with them either."""
    xs, ys = zip(*(tuple(map(tuple, pair)) for pair in sentence_pairs(300)), strict=True)
    xs, ys = ((), (), *xs), ((), (4, 5), *ys)
    expected_with_delete = []
    for x, y, found in zip(xs, ys, libnat.suggested_ed2_path(xs, ys, 0), strict=True):
        slots, deleted, mixed = [[]], [], [[]]
        for edit, word in edit_paths.edits(x, y):
            if edit == "insert":
                slots[-1].append(word)
                mixed[-1].append(word)
            else:
                slots.append([])
                mixed[-1] += [-7] if edit == "delete" else []
                mixed.append([])
                deleted.append(int(edit == "delete"))
        assert found == [*((words or [0] for words in slots) if x else slots), deleted]
        expected_with_delete.append([words or [0] for words in mixed] if x else mixed)
    assert libnat.suggested_ed2_path_with_delete(xs, ys, 0, -7) == expected_with_delete
    distances = [edit_paths.distance(x, y) for x, y in zip(xs, ys, strict=True)]
    assert libnat.compute_ed2(xs, ys) == distances


def test_models_that_insert_and_delete_find_the_stand_in() -> None:
    from fairseq.models.nat.levenshtein_utils import load_libnat

    module, on_cuda = load_libnat()
    assert not on_cuda
    assert callable(module.suggested_ed2_path)
