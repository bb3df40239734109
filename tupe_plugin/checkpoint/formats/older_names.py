"""Names of parameters in older files of transformers, and in those of a bare model."""

from __future__ import annotations

from torch import Tensor


def give_todays_names(state: dict[str, Tensor], prefix: str) -> None:
    """Rename in place: BERT's first files, and bare models, whose names lack the prefix.

    Buffers that are not parameters are left out.
    """
    bare = not any(key.startswith(prefix) for key in state)
    for key in list(state):
        name = key.replace("LayerNorm.gamma", "LayerNorm.weight")
        name = name.replace("LayerNorm.beta", "LayerNorm.bias")
        if bare and name.startswith(("embeddings.", "encoder.", "pooler.")):
            name = prefix + name
        value = state.pop(key)
        if not name.endswith("embeddings.position_ids"):
            state[name] = value
