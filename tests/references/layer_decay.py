"""Layer decay from the names of parameters, as the ELECTRA authors do it, spelled out for TUPE."""

from __future__ import annotations

BELOW_THE_LAYERS = ("embed_tokens.", "positions.", "embedding_layer_norm.")


def depth(name: str, *, num_layers: int) -> int:
    """Depth of a parameter by its name in the encoder, ``head.*`` being what stands on it."""
    if name.startswith(BELOW_THE_LAYERS):
        return 0
    for layer in range(num_layers):
        if name.startswith(f"layers.{layer}."):
            return layer + 1
    if name.startswith("final_layer_norm."):
        return num_layers + 1
    if name.startswith("head."):
        return num_layers + 2
    raise ValueError(name)


def learning_rate(name: str, *, num_layers: int, lr: float, layer_decay: float) -> float:
    """A parameter's own learning rate: one factor for each depth below the heads."""
    rate = lr
    for _ in range(num_layers + 2 - depth(name, num_layers=num_layers)):
        rate = rate * layer_decay
    return rate
