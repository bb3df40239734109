"""bitarray >= 3 has dropped a function that fairseq uses."""

from __future__ import annotations

from typing import Any

from .module_view import ModuleView


def restore_the_last_index_of_bits(huffman_coder: Any) -> None:
    """`AttributeError: module 'bitarray.util' has no attribute 'rindex'`.

    Where: fairseq/data/huffman/huffman_coder.py:46.
    When: bitarray >= 3.0, with data of `--dataset-impl huffman`.
    Fix: this module sees the function, in the words that took its place.
    Upstream: none was found; bitarray's list of changes names the replacement.
    """
    if not hasattr(huffman_coder.util, "rindex"):
        huffman_coder.util = ModuleView(
            huffman_coder.util, rindex=lambda bits, value: bits.index(value, right=True)
        )
