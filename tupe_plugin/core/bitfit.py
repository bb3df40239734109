"""BitFit: fine-tune bias terms and the task's head; all else stays as it was pre-trained.

    Q, K, V = x W + b^Q, x W + b^K, x W + b^V       a = attention W^O + b^m1
    h       = LN(a + x) with bias b^LN1             f = gelu(h W + b^m2) W + b^m3
    x'      = LN(f + h) with bias b^LN2             only the b are trained

Source: BitFit (arXiv 2106.10199), section 3, and the authors' code.  Published: b_q and b_m2 alone,
``query,intermediate`` (0.04 % of BERT), come close to all (0.09 %).  The key bias adds the same
number to all logits of a query, so no softmax sees it.

| paper          | role                  | parameter of a layer                         |
|----------------|-----------------------|----------------------------------------------|
| b_q, b_k, b_v  | ``query, key, value`` | thirds of ``self_attn.in_proj_bias``         |
| b_m1           | ``attention_output``  | ``self_attn.out_proj.bias``                  |
| b_m2           | ``intermediate``      | ``fc1.bias``                                 |
| b_m3           | ``output``            | ``fc2.bias``                                 |
| b_LN1, b_LN2   | ``layer_norm``        | ``self_attn_layer_norm``, ``final_layer_norm`` |

``layer_norm`` also holds the LayerNorm on the embeddings and pre-LN's last one, as in the authors'
code.  TUPE's positional block has no role: it is an embedding of positions, like the tables of
BERT, which BitFit freezes; with it the positional bias of the logits stays a constant.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from .attention import MultiheadSelfAttention
from .encoder import TupeEncoder
from .split_bias import PARTS, bias_parameter, split_bias

ROLES = (*PARTS, "attention_output", "intermediate", "output", "layer_norm")
ALL = "all"
PUBLISHED = "query,intermediate"
"""The pair of terms that the paper finds to come close to all."""
_METRIC = "bias_drift_"

_OF_A_LAYER = (
    *((part, "self_attn.in_proj_bias") for part in PARTS),
    ("attention_output", "self_attn.out_proj.bias"),
    ("intermediate", "fc1.bias"),
    ("output", "fc2.bias"),
    ("layer_norm", "self_attn_layer_norm.bias"),
    ("layer_norm", "final_layer_norm.bias"),
)
_AROUND_THE_LAYERS = (
    ("embedding", "embedding_layer_norm.bias"),
    ("final", "final_layer_norm.bias"),
)


class BiasTerm(NamedTuple):
    """One bias vector of an encoder."""

    place: str
    """Number of the layer from 0, or ``embedding`` or ``final`` for a LayerNorm outside of them."""
    role: str
    key: str
    """Name in the encoder's state dict."""

    @property
    def name(self) -> str:
        """The key; with the part, if it is one of a packed projection."""
        return f"{self.key}.{self.role}" if self.role in PARTS else self.key

    def of(self, state: Mapping[str, Tensor]) -> Tensor:
        """Its value ``(features,)`` in the encoder's state dict, as a view."""
        value = state[self.key]
        if self.role not in PARTS:
            return value
        return value.chunk(len(PARTS))[PARTS.index(self.role)]


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


def bias_terms(state: Mapping[str, Any]) -> Iterator[BiasTerm]:
    """Every bias term of an encoder with this state dict, from the input to the output."""
    before, after = (BiasTerm(place, "layer_norm", key) for place, key in _AROUND_THE_LAYERS)
    if before.key in state:
        yield before
    for layer in itertools.count():
        keys = [(role, f"layers.{layer}.{path}") for role, path in _OF_A_LAYER]
        if keys[0][1] not in state:
            break
        yield from (BiasTerm(str(layer), role, key) for role, key in keys)
    if after.key in state:
        yield after


def train_only_biases(encoder: TupeEncoder, roles: Iterable[str]) -> None:
    """Freeze the encoder but for the bias terms of these roles, a list or comma-separated.

    Where query, key and value do not share one fate, their packed bias is split; names in the
    state dict stay.  To be done before an optimizer takes the parameters.

    Raises:
        ValueError: a role is none of `ROLES`, or there is none; or the module is no encoder whose
            bias terms are known.  Nothing is frozen then.
    """
    chosen = set(parse_roles(roles if isinstance(roles, str) else ",".join(roles)))
    if not isinstance(encoder, TupeEncoder):
        inside = [name for name, m in encoder.named_modules() if isinstance(m, TupeEncoder)]
        hint = f"its part {inside[0]!r}" if inside else "a TupeEncoder"
        raise ValueError(
            f"the bias terms of {type(encoder).__name__} are not known here, so nothing of it "
            f"would train: give {hint}"
        )
    encoder.requires_grad_(False)
    if 0 < len(chosen.intersection(PARTS)) < len(PARTS):
        for layer in encoder.layers:
            split_bias(cast(Any, layer).self_attn)
    for term in bias_terms(encoder.state_dict()):
        if term.role in chosen:
            _parameter(encoder, term).requires_grad_(True)


def trained_terms(encoder: TupeEncoder) -> list[BiasTerm]:
    """The bias terms that require gradients."""
    terms = bias_terms(encoder.state_dict())
    return [term for term in terms if _parameter(encoder, term).requires_grad]


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


def _parameter(encoder: TupeEncoder, term: BiasTerm) -> nn.Parameter:
    if term.role not in PARTS:
        return encoder.get_parameter(term.key)
    attention = encoder.get_submodule(term.key.rpartition(".")[0])
    return bias_parameter(cast(MultiheadSelfAttention, attention), term.role)
