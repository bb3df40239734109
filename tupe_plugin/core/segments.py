"""Segments, BERT's token types: a learned vector for the first sentence and one for the second.

    x_0 = E[tokens] + S[segment] + ...;   segment(t) = number of separators before t, at most n - 1

A batch of fairseq says nothing of sentences, so the segments come from the tokens.  In
``<s> A </s> B </s>`` they are BERT's: 0 up to and including the first separator, 1 from there on.

Source: BERT (arXiv 1810.04805), section 3 and figure 2.

| paper              | here                                     |
|--------------------|------------------------------------------|
| E_A, E_B           | rows of ``weight`` ``(segments, embed)``  |
| [SEP]              | ``separator_idx``, fairseq's ``</s>``     |
"""

from __future__ import annotations

from torch import Tensor, nn


class SegmentEmbedding(nn.Embedding):
    """Vectors of the segments.

    Args:
        num_segments: rows; all sentences from the last one on share its row.
        embed_dim: width.
        separator_idx: the symbol that ends a sentence.
    """

    def __init__(self, num_segments: int, embed_dim: int, *, separator_idx: int) -> None:
        super().__init__(num_segments, embed_dim)
        self.separator_idx = separator_idx

    def forward(self, tokens: Tensor) -> Tensor:
        """``(batch, seq)`` tokens -> ``(batch, seq, embed)``."""
        separators = tokens.eq(self.separator_idx).long()
        before = separators.cumsum(1) - separators
        return super().forward(before.clamp(max=self.num_embeddings - 1))
