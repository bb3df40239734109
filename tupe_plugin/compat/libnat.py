"""Stand-in for `fairseq.libnat`: how one sentence becomes another. Equal results.

    d(i, j) = i                                       if j = 0
              j                                       if i = 0
              min(d(i-1, j) + 1, d(i, j-1) + 1)       if x_i and y_j differ, else also d(i-1, j-1)

is the number of words to delete and to insert that make the first i words of x the first j of y. A
path of edits prefers, going backwards, to insert, then to delete, then to keep.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

Sentences = Sequence[Sequence[int]]
INSERT, DELETE, KEEP = range(3)


def compute_ed2(xs: Sentences, ys: Sentences) -> list[int]:
    """The number of insertions and deletions that make each of `xs` the one of `ys`."""
    return [int(distances[-1, -1]) for distances in _distances(xs, ys)]


def suggested_ed2_path(xs: Sentences, ys: Sentences, terminal_symbol: int) -> list[list[list[int]]]:
    """For each x: the words to insert before each of its words and at its end, and then one list
    with 1 for each word to delete, and 0 for each other. Nothing to insert is `terminal_symbol`.
    """
    paths = []
    for x, y, distances in zip(xs, ys, _distances(xs, ys), strict=True):
        if not len(x):
            paths.append([list(y), []])  # as compiled: without a symbol
            continue
        inserted: list[list[int]] = [[] for _ in range(len(x) + 1)]
        is_deleted = [0] * len(x)
        for edit, i, j in _edits(distances):
            if edit == INSERT:
                inserted[i].append(y[j])
            elif edit == DELETE:
                is_deleted[i] = 1
        paths.append([*(words or [terminal_symbol] for words in inserted), is_deleted])
    return paths


def suggested_ed2_path_with_delete(
    xs: Sentences, ys: Sentences, terminal_symbol: int, deletion_symbol: int
) -> list[list[list[int]]]:
    """As above, but a word to delete is a `deletion_symbol` among the words before it."""
    paths = []
    for x, y, distances in zip(xs, ys, _distances(xs, ys), strict=True):
        if not len(x):
            paths.append([list(y)])
            continue
        inserted: list[list[int]] = [[] for _ in range(len(x) + 1)]
        for edit, i, j in _edits(distances):
            if edit != KEEP:
                inserted[i].append(y[j] if edit == INSERT else deletion_symbol)
        paths.append([words or [terminal_symbol] for words in inserted])
    return paths


def _distances(xs: Sentences, ys: Sentences) -> list[np.ndarray]:
    """d of each pair (words of x + 1, words of y + 1)."""
    padded_x, padded_y = _padded(xs, -1), _padded(ys, -2)
    (pairs, rows), columns = padded_x.shape, np.arange(padded_y.shape[1] + 1)
    d = np.empty((rows + 1, pairs, len(columns)), dtype=np.int64)
    d[0] = columns
    for i in range(1, rows + 1):
        d[i] = d[i - 1] + 1
        differs = padded_x[:, i - 1, None] != padded_y
        np.minimum(d[i, :, 1:], d[i - 1, :, :-1] + 2 * differs, out=d[i, :, 1:])
        # The best of all places to the left, each farther by one insertion a column.
        d[i] = np.minimum.accumulate(d[i] - columns, axis=1) + columns
    return [
        d[: len(x) + 1, pair, : len(y) + 1] for pair, (x, y) in enumerate(zip(xs, ys, strict=True))
    ]


def _padded(sentences: Sentences, padding: int) -> np.ndarray:
    longest = max(map(len, sentences), default=0)
    padded = np.full((len(sentences), longest), padding, dtype=np.int64)
    for row, sentence in zip(padded, sentences, strict=True):
        row[: len(sentence)] = sentence
    return padded


def _edits(distances: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """From the first word on: an edit, how many words of x were used before it, and of y."""
    d = distances.tolist()
    i, j = len(d) - 1, len(d[0]) - 1
    path = []
    while i or j:
        if j and d[i][j - 1] < d[i][j]:
            edit, j = INSERT, j - 1
        elif i and d[i - 1][j] < d[i][j]:
            edit, i = DELETE, i - 1
        else:
            edit, i, j = KEEP, i - 1, j - 1
        path.append((edit, i, j))
    return reversed(path)
