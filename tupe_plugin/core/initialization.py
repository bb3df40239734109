"""BERT's initialisation: what encoder and heads are made with.

Weights of linear maps and embeddings ~ N(0, 0.02^2), biases 0, the row of the padding symbol 0;
normalisations keep gain 1 and bias 0.

Source: BERT (arXiv 1810.04805), authors' code (``initializer_range`` 0.02); TUPE uses the same.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .attention import MultiheadSelfAttention

STANDARD_DEVIATION = 0.02

Initialize = Callable[[nn.Module], None]
"""Gives one module, not its children, its first weights: for ``nn.Module.apply``."""


def init_bert_params(module: nn.Module) -> None:
    """Initialise one module, not its children: for ``nn.Module.apply``."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=STANDARD_DEVIATION)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=STANDARD_DEVIATION)
        if module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx].detach())
    elif isinstance(module, MultiheadSelfAttention):
        nn.init.normal_(module.in_proj_weight, std=STANDARD_DEVIATION)
        nn.init.zeros_(module.in_proj_bias)
