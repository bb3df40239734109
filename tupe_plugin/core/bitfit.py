"""BitFit: fine-tune bias terms and the task's head; all else stays as it was pre-trained.

    Q, K, V = x W + b^Q, x W + b^K, x W + b^V       a = attention W^O + b^m1
    h       = LN(a + x) with bias b^LN1             f = gelu(h W + b^m2) W + b^m3
    x'      = LN(f + h) with bias b^LN2             only the b are trained

Source: BitFit (arXiv 2106.10199), section 3, and the authors' code.  Published: b_q and b_m2 alone,
``query,intermediate`` (0.04 % of BERT), come close to all (0.09 %).  The key bias adds the same
number to all logits of a query, so no softmax sees it.

| paper          | role                  |
|----------------|-----------------------|
| b_q, b_k, b_v  | ``query, key, value`` |
| b_m1           | ``attention_output``  |
| b_m2           | ``intermediate``      |
| b_m3           | ``output``            |
| b_LN1, b_LN2   | ``layer_norm``        |

Which parameters these are in an encoder is told by its table in ``views/``.  ``layer_norm`` also
holds the LayerNorm on the embeddings and pre-LN's last one, as in the authors' code.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .encoder_family import PARTS, ROLES, BiasTerm
from .encoder_view import EncoderView, view_of
from .split_bias import bias_parameter, split_bias

ALL = "all"
PUBLISHED = "query,intermediate"
"""The pair of terms that the paper finds to come close to all."""
_METRIC = "bias_drift_"


class TrainedShare(NamedTuple):
    """How much of a model BitFit trains."""

    biases: int
    """Parameters of the encoder that train, counted one by one."""
    heads: int
    """Parameters outside of it that train."""
    total: int
    """All parameters that a training step reads but the latter."""


def parse_roles(text: str) -> tuple[str, ...]:
    """Roles out of a comma-separated list, in the order of `ROLES`; ``all`` is all of them.

    Raises:
        ValueError: a name is missing, or is that of no role.
    """
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in (*ROLES, ALL)]
    if unknown:
        problem = f"no bias term is called {unknown[0]!r}" if all(names) else "a name is missing"
        if not any(names):
            problem = "names no bias term"
        raise ValueError(
            f"{problem}; give {ALL}, or some of {', '.join(ROLES)}, with commas between"
        )
    return ROLES if ALL in names else tuple(role for role in ROLES if role in names)


def train_only_biases(
    model: nn.Module | EncoderView, roles: str | Iterable[str] = ALL
) -> TrainedShare:
    """Freeze the encoder but for the bias terms of these roles; heads are left as they are.

    Where query, key and value do not share one fate, their packed bias is split; names in the
    state dict stay.  To be done before an optimizer takes the parameters.

    Args:
        model: a model with an encoder, or a view of one.
        roles: some of `ROLES`, as a list or with commas between; or ``all``.

    Raises:
        UnknownEncoderError: no table of ``views/`` fits the model.  Nothing is frozen then.
        ValueError: a role is none of `ROLES`, or there is none.  Nothing is frozen then.
    """
    view = view_of(model)
    chosen = set(parse_roles(roles if isinstance(roles, str) else ",".join(roles)))
    for param in view.parameters():
        param.requires_grad_(False)
    some_parts = 0 < len(chosen.intersection(PARTS)) < len(PARTS)
    for term in view.biases:
        if term.packed and some_parts:
            split_bias(*_owner(view, term))
    for term in view.biases:
        if term.role in chosen:
            parameter(view, term).requires_grad_(True)
    return trained_share(view)


def trained_terms(model: nn.Module | EncoderView) -> list[BiasTerm]:
    """The bias terms that require gradients."""
    view = view_of(model)
    return [term for term in view.biases if parameter(view, term).requires_grad]


def trained_share(model: nn.Module | EncoderView) -> TrainedShare:
    """How many parameters of the encoder and beside it require gradients."""
    view = view_of(model)
    own, unused = set(view.parameters()), set(view.unused)
    read = [param for param in view.model.parameters() if param not in unused]
    trained = [param for param in read if param.requires_grad]
    biases = sum(param.numel() for param in trained if param in own)
    heads = sum(param.numel() for param in trained) - biases
    return TrainedShare(biases, heads, sum(param.numel() for param in read) - heads)


def mean_drift(
    terms: Iterable[BiasTerm], before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> dict[tuple[str, str], float]:
    """Mean of |b_0 - b_F| over the features of each (place, role), in float32.

    Args:
        terms: which.
        before: state dict, or what it says of these terms.
        after: the same, later.
    """
    changes: dict[tuple[str, str], list[Tensor]] = defaultdict(list)
    for term in terms:
        now = term.of(after).float()
        changes[term.place, term.role].append((term.of(before).to(now) - now).abs())
    if not changes:
        return {}
    means = torch.stack([torch.cat(vectors).mean() for vectors in changes.values()])
    return dict(zip(changes, means.tolist(), strict=True))


def metric_name(place: str, role: str) -> str:
    """Under which a drift is logged; :func:`drift_of_metric` reads it."""
    return f"{_METRIC}{place}_{role}"


def drift_of_metric(name: str) -> tuple[str, str] | None:
    """(place, role) of a logged drift; None for the name of anything else."""
    place, _, role = name.removeprefix(_METRIC).partition("_")
    return (place, role) if name.startswith(_METRIC) and role in ROLES else None


def parameter(view: EncoderView, term: BiasTerm) -> nn.Parameter:
    """The parameter that holds a bias term, alone or with others of a packed projection."""
    module, name = _owner(view, term)
    return bias_parameter(module, name, term.role) if term.packed else module.get_parameter(name)


def _owner(view: EncoderView, term: BiasTerm) -> tuple[nn.Module, str]:
    path, _, name = term.key.rpartition(".")
    return view.encoder.get_submodule(path), name
