"""Naive batching and block-cutting, with lists, to hold fairseq's data functions against."""

from __future__ import annotations


def batch_by_size(
    lengths: list[int], max_tokens: int, max_sentences: int, multiple: int
) -> list[list[int]]:
    """Positions of the sentences in each batch. A limit <= 0 is no limit.

    A batch takes in the sentences that wait for it once it has a permitted size with them. When
    they do not fit any more, it is closed, and those which waited are the next batch.
    """

    def tokens(batch: list[int]) -> int:
        return len(batch) * max(lengths[k] for k in batch)

    batches: list[list[int]] = []
    batch: list[int] = []
    waiting: list[int] = []
    for position in range(len(lengths)):
        waiting.append(position)
        together = batch + waiting
        if len(together) > max_sentences > 0 or tokens(together) > max_tokens > 0:
            batches.append(batch)
            if tokens(waiting) > max_tokens > 0:
                batches.append(waiting[:-1])
                waiting = [position]
            batch, waiting = waiting, []
        elif len(together) < multiple or len(together) % multiple == 0:
            batch, waiting = together, []
    return [each for each in (*batches, batch, waiting) if each]


def blocks(
    sizes: list[int], break_mode: str, block_size: int, separator: int
) -> list[tuple[int, int]]:
    """First token and end of each block, from an explicit list of the corpus's tokens."""
    sentences: list[list[int]] = []
    total = 0
    for size in sizes:
        sentences.append(list(range(total, total + size)))
        total += size
    if break_mode == "eos":
        ends = [sum(sizes[: k + 1]) for k in range(len(sizes))]
        return [(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    if break_mode == "none":
        tokens = list(range(total))
        cut = [tokens[start : start + block_size] for start in range(0, total, block_size)]
        return [(block[0], block[-1] + 1) for block in cut]

    documents: list[list[list[int]]] = [[]]
    for sentence in sentences:
        if break_mode == "complete_doc" and len(sentence) == separator:
            documents.append([])
        else:
            documents[-1].append(sentence)
    found: list[list[int]] = []
    for document in documents:
        block: list[int] = []
        for sentence in document:
            if block and len(block) + len(sentence) > block_size:
                found.append(block)
                block = []
            block = block + sentence
        found.append(block)
    shortest = 2 if break_mode == "complete_doc" else 1
    return [(block[0], block[-1] + 1) for block in found if len(block) >= shortest]


def sentences_of_blocks(
    sizes: list[int], slices: list[tuple[int, int]]
) -> list[tuple[int, int, int]]:
    """First sentence, offset in it, last sentence of each block, found token by token."""
    owner = [(k, offset) for k, size in enumerate(sizes) for offset in range(size)]
    found = []
    for start, end in slices:
        first, offset = owner[start]
        found.append((first, offset, owner[end - 1][0]))
    return found
