"""Nearly equal documents: as many are dropped as MinHash promises, and exactly those."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from tupe_plugin.data.corpus_options import HIGHEST_SIMILARITY
from tupe_plugin.data.text.drop_near_duplicates import bands_for, drop_near_duplicates
from tupe_plugin.data.worker_pool import WorkerPool

PAIRS, WORDS = 40, 150


def similarity(one: list[str], other: list[str]) -> float:
    shingles = [
        {tuple(words[start : start + 5]) for start in range(len(words) - 4)}
        for words in (one, other)
    ]
    return len(shingles[0] & shingles[1]) / len(shingles[0] | shingles[1])


def test_later_documents_are_dropped_by_their_similarity(tmp_path: Path) -> None:
    rng = random.Random(2)
    vocabulary = [f"w{number}" for number in range(3000)]
    documents: list[list[str]] = [["a", "short", "one"], ["another"], ["a", "short", "one"]]
    expected, of_changes = 0.0, {0: 0, 4: 0, 40: 0}
    bands, copies = bands_for(0.8), {}
    for changes in of_changes:
        for _ in range(PAIRS):
            first = rng.choices(vocabulary, k=WORDS)
            second = list(first)
            for place in rng.sample(range(WORDS), changes):
                second[place] = "changed"
            documents += [first, second]
            copies[" ".join(second)] = changes
            expected += 1 - (1 - similarity(first, second) ** bands.rows) ** bands.number
    texts = [" ".join(words) for words in documents]
    # Lines are words too, and a document of several lines is one.
    text = "\n\n".join(words.replace(" w1", "\nw1") for words in texts) + "\n"
    (tmp_path / "text").write_text(text, "utf-8")
    with WorkerPool(1) as pool:
        counts = drop_near_duplicates(tmp_path / "text", tmp_path / "out", pool, similarity=0.8)
    kept = (tmp_path / "out").read_text("utf-8").removesuffix("\n").split("\n\n")
    assert {path.name for path in tmp_path.iterdir()} == {"text", "out"}
    assert counts["documents read"] == len(documents)
    assert counts["documents"] == len(kept)
    assert counts["lines"] == sum(document.count("\n") + 1 for document in kept)

    # What is kept has no key of a band in common with any document before it.
    keys = bands.build()
    seen: set[tuple[int, bytes]] = set()
    naive = []
    for document in text.removesuffix("\n").split("\n\n"):
        key = keys([document.encode()])
        mine = {(place, key[place : place + 16]) for place in range(0, len(key), 16)}
        if not mine & seen:
            naive.append(document)
        seen |= mine
    assert kept == naive
    dropped = Counter(texts) - Counter(document.replace("\n", " ") for document in kept)
    for document, changes in copies.items():
        of_changes[changes] += dropped[document]
    assert (of_changes[0], of_changes[40]) == (PAIRS, 0)
    deviation = (PAIRS * 0.25) ** 0.5  # at most, of a sum of independent chances
    assert abs(sum(of_changes.values()) - expected) < 3 * deviation


def test_the_highest_similarity_that_is_taken_has_bands() -> None:
    assert bands_for(HIGHEST_SIMILARITY).number >= 2
