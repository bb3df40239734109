"""Functions of torch with which `encoder_fast_path.py` replaces others; TorchScript reads them.

In a file of their own, because whatever imports the patches should not import torch with them.
"""

from __future__ import annotations

import torch
from torch import Tensor


def is_padded_on_the_right(x: Tensor, is_word: Tensor) -> bool:
    """torch's function of this name, and whether a word of ``(batch, key)`` is in the last column.

    TorchScript reads it, as it does the next one.
    """
    left_aligned: bool = torch._nested_tensor_from_mask_left_aligned(x, is_word)
    return left_aligned and bool(is_word[:, -1].any())


def layer_with_mask(
    src: Tensor,
    embed_dim: int,
    num_heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Tensor,
    norm_bias_1: Tensor,
    norm_weight_2: Tensor,
    norm_bias_2: Tensor,
    ffn_weight_1: Tensor,
    ffn_bias_1: Tensor,
    ffn_weight_2: Tensor,
    ffn_bias_2: Tensor,
    mask: Tensor | None,
) -> Tensor:
    """torch's function of this name, with the kind of the mask (batch, key)."""
    return torch._transformer_encoder_layer_fwd(
        src,
        embed_dim,
        num_heads,
        qkv_weight,
        qkv_bias,
        proj_weight,
        proj_bias,
        use_gelu,
        norm_first,
        eps,
        norm_weight_1,
        norm_bias_1,
        norm_weight_2,
        norm_bias_2,
        ffn_weight_1,
        ffn_bias_1,
        ffn_weight_2,
        ffn_bias_2,
        mask,
        None if mask is None else 1,  # 1: (batch, key), True where a key is padding
    )
