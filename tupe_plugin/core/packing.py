"""A batch of sentences of several lengths without its padding: one matrix of words.

    packed[i] = x[sentence of word i, place of word i]

What a layer does to each word by itself (projections, feed-forward, LayerNorm, dropout) is done to
these rows alone; attention, which needs the sentences, gets them back with zeros where padding is.
The words' features and all gradients are the same as with padding.

Source: Effective Transformer; Zeng et al., Boosting Distributed Training Performance of the
Unpadded BERT Model (arXiv 2208.08124).
"""

from __future__ import annotations

from torch import Tensor

UNPAD: dict[str, bool | None] = {"auto": None, "always": True, "never": False}
"""What `--unpad` means to the encoder."""


class Packing:
    """Which places of a batch hold words.

    Args:
        batch: sentences.
        seq: places of each.
        words: the places with a word, ``(words,)``, counted through all sentences.
    """

    def __init__(self, batch: int, seq: int, words: Tensor) -> None:
        self._batch, self._seq, self._words = batch, seq, words

    def pack(self, x: Tensor) -> Tensor:
        """``(batch, seq, features)`` -> ``(words, features)``."""
        return x.flatten(0, 1).index_select(0, self._words)

    def unpack(self, packed: Tensor) -> Tensor:
        """``(words, features)`` -> ``(batch, seq, features)``, zeros where padding is."""
        places = packed.new_zeros(self._batch * self._seq, packed.size(-1))
        return places.index_copy(0, self._words, packed).unflatten(0, (self._batch, self._seq))


def packing_of(padding: Tensor) -> Packing | None:
    """How to pack a batch, ``(batch, seq)``, True = padding; None if it has no padding.

    On a GPU this is waited for, once.
    """
    words = padding.logical_not().flatten().nonzero().squeeze(-1)
    batch, seq = padding.shape
    return None if words.numel() == batch * seq else Packing(batch, seq, words)
