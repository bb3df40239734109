"""Shapes of the two kinds of heads, which an encoder's settings imply."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .errors import UnusableCheckpointError
from .formats.our_names import ENCODER, HEAD, LM_HEAD


def check_heads(weights: Mapping[str, Tensor], path: object) -> None:
    """Hold the masked-LM head and the classification head against the encoder.

    Raises:
        UnusableCheckpointError: a part is missing, or it is of another shape.
    """
    vocabulary, dim = weights[f"{ENCODER}embed_tokens.weight"].shape
    outputs = weights.get(f"{HEAD}out_proj.weight")
    classes = 1 if outputs is None or not outputs.dim() else len(outputs)
    shapes = {
        LM_HEAD: {
            "dense.weight": (dim, dim),
            "dense.bias": (dim,),
            "layer_norm.weight": (dim,),
            "layer_norm.bias": (dim,),
            "bias": (vocabulary,),
        },
        HEAD: {
            "dense.weight": (dim, dim),
            "dense.bias": (dim,),
            "out_proj.weight": (classes, dim),
            "out_proj.bias": (classes,),
        },
    }
    what = {LM_HEAD: "the masked-LM head", HEAD: "the classifier"}
    lack = {LM_HEAD: "is incomplete", HEAD: "does not classify whole sentences"}
    for head, parts in shapes.items():
        if not any(key.startswith(head) for key in weights):
            continue
        for name, shape in parts.items():
            found = weights.get(head + name)
            if found is None:
                raise UnusableCheckpointError(
                    f"{path}: {what[head]} has no {name}, so it {lack[head]}"
                )
            if found.shape != shape:
                raise UnusableCheckpointError(
                    f"{path}: {name} of {what[head]} is {tuple(found.shape)}, and should be {shape}"
                )
