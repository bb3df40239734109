"""Untying [CLS]: the first token has no place in the sentence, so it gets no positional bias.

    reset(v, theta1, theta2)[i, j] =  theta1   if i = 0             ([CLS] looks at a word)
                                      theta2   if i > 0 and j = 0   (a word looks at [CLS])
                                      v[i, j]  otherwise

Source: TUPE (arXiv 2006.15595), section 3.2, equation 10.  Cell (0, 0) is ``theta1``.

| paper        | here                |
|--------------|---------------------|
| theta_1      | ``cls_to_others``   |
| theta_2      | ``others_to_cls``   |
| v_ij         | ``bias[:, i, j]``   |
"""

from __future__ import annotations

import torch
from torch import Tensor


def reset_cls(bias: Tensor, *, cls_to_others: Tensor, others_to_cls: Tensor) -> Tensor:
    """Replace what touches token 0 in a positional bias by two scalars for each head.

    Args:
        bias: ``(heads, query, key)``; token 0 of both axes is [CLS].
        cls_to_others: ``(heads,)``, fills row 0 (its own cell included).
        others_to_cls: ``(heads,)``, fills column 0 below row 0.

    Returns:
        ``(heads, query, key)``, a new tensor; gradients reach all three arguments.
    """
    heads, queries, keys = bias.shape
    if torch.compiler.is_compiling():  # the parts below would bar a traced graph from length 2
        to_others, from_others = (
            scalars.to(bias.dtype).view(heads, 1, 1) for scalars in (cls_to_others, others_to_cls)
        )
        query, key = (torch.arange(size, device=bias.device) for size in (queries, keys))
        bias = torch.where(key == 0, from_others, bias)
        return torch.where(query.unsqueeze(1) == 0, to_others, bias)
    column = others_to_cls.view(heads, 1, 1).expand(heads, queries - 1, 1)
    row = cls_to_others.view(heads, 1, 1).expand(heads, 1, keys)
    words = torch.cat([column.to(bias.dtype), bias[:, 1:, 1:]], dim=2)
    return torch.cat([row.to(bias.dtype), words], dim=1)
