"""Layer decay: the nearer to the input, the smaller the learning rate.

    lr_k = lr r^(n + 2 - k),   0 < r <= 1

for an encoder of n layers, where k is the depth at which a parameter stands:

| k     | what                                                                                |
|-------|-------------------------------------------------------------------------------------|
| 0     | embeddings: tokens, everything that knows of positions, the LayerNorm on embeddings |
| i + 1 | encoder layer i, counted from 0                                                     |
| n + 1 | the LayerNorm after the last layer, which only pre-LN has                           |
| n + 2 | heads: masked LM, classification                                                    |

r = 1 is plain training.  The masked-LM head's output matrix is the token embedding, and stays one.

Source: ELECTRA (arXiv 2003.10555), appendix B (r = 0.8 and 0.9), and the authors' code for k: it
leaves n + 1 empty, so that the last layer has r^2.  ``Deviation``: theirs is a model without
pre-LN; its last LayerNorm takes the empty place.  TUPE's positional block serves all layers, but
it stands before the first, and is made of embeddings: k = 0.

| paper     | here           |
|-----------|----------------|
| r         | ``layer_decay``|
| r^(n+2-k) | ``lr_scale``   |
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import nn

from .encoder_view import EncoderView, view_of

_FOLLOWS_FROM_THE_MODEL = ("lr_scale", "in_window")  # and from the options: no state of a group


class Depth(NamedTuple):
    """Where in a model a parameter stands."""

    level: int
    """k above."""
    top: int
    """n + 2, the depth of the heads."""
    what: str
    """In words."""

    def lr_scale(self, layer_decay: float) -> float:
        """r^(n + 2 - k)."""
        return float(layer_decay ** (self.top - self.level))


def parameter_depths(model: nn.Module | EncoderView) -> dict[nn.Parameter, Depth]:
    """The depth of every parameter of an encoder and of what stands on it.

    What is no part of the encoder is a head.  A parameter that several modules share has the depth
    of the lowest one.

    Raises:
        UnknownEncoderError: no table of ``views/`` fits the model.
    """
    view = view_of(model)
    top = len(view.layers) + 2
    places: list[tuple[int, str, tuple[nn.Module, ...]]] = [
        (0, "embeddings", view.before_layers),
        *((i + 1, f"layer {i}", (layer,)) for i, layer in enumerate(view.layers)),
        (top - 1, "last LayerNorm", view.after_layers),
        (top, "heads", (view.model,)),
    ]
    depths: dict[nn.Parameter, Depth] = {}
    for level, what, modules in places:
        for param in itertools.chain.from_iterable(module.parameters() for module in modules):
            depths.setdefault(param, Depth(level, top, what))
    return depths


def runs_of_one_depth(
    params: Sequence[nn.Parameter], depths: Sequence[Depth]
) -> list[tuple[Depth, list[nn.Parameter]]]:
    """Neighbours of the same depth together; the order of the parameters is kept.

    So an optimizer numbers its parameters, and lays them out, as it does without layer decay, and
    the states of both can be told in terms of each other (`merge_groups`, `split_group`).
    """
    pairs = zip(depths, params, strict=True)
    return [
        (depth, [param for _, param in run]) for depth, run in groupby(pairs, key=lambda p: p[0])
    ]


def parameter_groups(
    model: nn.Module | EncoderView, *, lr: float, layer_decay: float
) -> list[dict[str, Any]]:
    """One group for each depth, for any torch optimizer; those that train, from the input up.

        optimizer = torch.optim.AdamW(parameter_groups(model, lr=5e-5, layer_decay=0.9))

    Each has its own ``lr``, which a scheduler that multiplies (all of torch's that take no rate of
    their own, and Hugging Face's) changes in proportion; ``name`` says in words what it holds.

    Args:
        model: a model with an encoder, or a view of one.
        lr: of the heads.
        layer_decay: factor for each layer further down, above 0 and at most 1.

    Raises:
        UnknownEncoderError: no table of ``views/`` fits the model.
        ValueError: ``layer_decay`` is out of bounds, or nothing trains.
    """
    _check_decay(layer_decay)
    by_depth: dict[Depth, list[nn.Parameter]] = {}
    for param, depth in parameter_depths(model).items():
        if param.requires_grad:
            by_depth.setdefault(depth, []).append(param)
    if not by_depth:
        raise ValueError("no parameter of the model requires gradients: there is nothing to train")
    return [
        {"params": params, "lr": lr * depth.lr_scale(layer_decay), "name": depth.what}
        for depth, params in sorted(by_depth.items())
    ]


def decayed_groups(
    runs: Iterable[tuple[Depth, list[nn.Parameter]]], layer_decay: float
) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer that multiplies a group's lr by its ``lr_scale``.

    Raises:
        ValueError: ``layer_decay`` is not above 0 and at most 1.
    """
    _check_decay(layer_decay)
    return [{"params": run, "lr_scale": depth.lr_scale(layer_decay)} for depth, run in runs]


def _check_decay(layer_decay: float) -> None:
    if not 0 < layer_decay <= 1:
        raise ValueError(
            f"layer_decay={layer_decay}: must be above 0 and at most 1 "
            "(1 is plain training, published values are 0.8 to 0.95)"
        )


def scale_learning_rates(optimizer: torch.optim.Optimizer) -> None:
    """Make each step use lr times ``lr_scale``; a group without one steps as before.

    Between the steps ``lr`` is the undecayed one, whoever writes it: a scheduler may set one value
    in all groups, or multiply each.  It must be called once for an optimizer.
    """
    undecayed: list[Any] = []

    def before_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        undecayed[:] = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * group.get("lr_scale", 1.0)

    def after_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for group, lr in zip(optimizer.param_groups, undecayed, strict=True):
            group["lr"] = lr

    optimizer.register_step_pre_hook(before_step)
    optimizer.register_step_post_hook(after_step)


def keep_groups_out_of_states(optimizer: torch.optim.Optimizer) -> None:
    """Make ``state_dict`` what it is in plain training, and ``load_state_dict`` read it so.

    ``lr_scale`` is no state: it follows from the model and the value of ``layer_decay`` in force.
    So a run can go on with another one, or without.  Nor is ``in_window``, M-FAC's.  It must be
    called once for an optimizer.
    """

    def merge(_: torch.optim.Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
        return merge_groups(state_dict)

    def split(optimizer: torch.optim.Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
        return split_group(state_dict, optimizer.param_groups)

    optimizer.register_state_dict_post_hook(merge)
    optimizer.register_load_state_dict_pre_hook(split)


def merge_groups(state_dict: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state with its groups as one, as plain training has it.

    The groups must differ in nothing but `_FOLLOWS_FROM_THE_MODEL`, which is left out.
    """
    groups = state_dict["param_groups"]
    merged = {name: v for name, v in groups[0].items() if name not in _FOLLOWS_FROM_THE_MODEL}
    merged["params"] = [number for group in groups for number in group["params"]]
    return {**state_dict, "param_groups": [merged]}


def split_group(state_dict: dict[str, Any], groups: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The reverse of `merge_groups`, for an optimizer that has these groups.

    Raises:
        ValueError: it is the state of another number of parameters.
    """
    (merged,) = merge_groups(state_dict)["param_groups"]
    numbers = merged["params"]
    wanted = sum(len(group["params"]) for group in groups)
    if len(numbers) != wanted:
        raise ValueError(
            f"the optimizer's state is of {len(numbers)} parameters, and {wanted} are trained: "
            "start with a new state (--reset-optimizer)"
        )
    split, start = [], 0
    for group in groups:
        stop = start + len(group["params"])
        own = {name: group[name] for name in _FOLLOWS_FROM_THE_MODEL if name in group}
        split.append({**merged, **own, "params": numbers[start:stop]})
        start = stop
    return {**state_dict, "param_groups": split}


def format_table(
    runs: Iterable[tuple[Depth, list[nn.Parameter]]], layer_decay: float, *, lr: float
) -> str:
    """Depth, what stands there, number of parameters, factor and learning rate, a line each."""
    counts: dict[Depth, int] = {}
    for depth, run in runs:
        counts[depth] = counts.get(depth, 0) + sum(param.numel() for param in run)
    lines = [f"{'depth':>5}  {'what':<14}  {'parameters':>12}  {'factor':>8}  {'lr':>9}"]
    for depth, count in sorted(counts.items()):
        scale = depth.lr_scale(layer_decay)
        lines.append(
            f"{depth.level:>5}  {depth.what:<14}  {count:>12,}  {scale:>8.4f}  {lr * scale:>9.3g}"
        )
    return "\n".join(lines)
