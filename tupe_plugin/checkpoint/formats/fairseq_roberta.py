"""fairseq's own RoBERTa: names of its released files (2019), of fairseq 0.12.2, and ours.

The released files have `decoder.` where the encoder is, as those of the TUPE authors, whose code
began from the same fork. They are told by their table of positions, which TUPE has not.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...core.views.fairseq_transformer import FAIRSEQ_TRANSFORMER
from .key_table import KeyTable
from .our_names import ENCODER, HEADS, LM_HEAD

_LAYER = f"{ENCODER}layers.#."
_SAME = (
    f"{ENCODER}embed_tokens.weight",
    f"{_LAYER}self_attn.out_proj.*",
    f"{_LAYER}self_attn_layer_norm.*",
    f"{_LAYER}fc1.*",
    f"{_LAYER}fc2.*",
    f"{_LAYER}final_layer_norm.*",
    f"{LM_HEAD}dense.*",
    f"{LM_HEAD}layer_norm.*",
    f"{LM_HEAD}bias",
    f"{LM_HEAD}weight",
)
KEYS = KeyTable(
    (
        (f"{ENCODER}embed_positions.weight", f"{ENCODER}positions.learned.weight"),
        (f"{ENCODER}layernorm_embedding.*", f"{ENCODER}embedding_layer_norm.*"),
        (f"{_LAYER}self_attn.{{q_proj,k_proj,v_proj}}.*", f"{_LAYER}self_attn.in_proj_*"),
        *((name, name) for name in _SAME),
    )
)
OPTIONS = {
    "position_scheme": "bert-a",
    "position_offset": 2,
    "num_segments": 0,
    "layer_norm_eps": 1e-5,
    "embedding_normalize": True,
    "encoder_normalize_before": False,
}
"""Of `--arch tupe_*` for the same model."""


def is_roberta(state: Mapping[str, object]) -> bool:
    """Whether these are parameters of a RoBERTa of fairseq, of any age."""
    return any(
        f"{part}.sentence_encoder.embed_positions.weight" in state
        for part in ("decoder", "encoder")
    )


def todays_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters as fairseq 0.12.2 calls them; a state of today stays as it is."""
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        name = f"encoder.{key[len('decoder.') :]}" if key.startswith("decoder.") else key
        name = name.replace(".emb_layer_norm.", ".layernorm_embedding.")
        start, packed, kind = name.partition(".self_attn.in_proj_")
        if packed:
            parts = zip("qkv", value.chunk(3), strict=True)
            renamed |= {f"{start}.self_attn.{part}_proj.{kind}": tensor for part, tensor in parts}
        else:
            renamed[name] = value
    return renamed


def to_ours(state: Mapping[str, Tensor], path: object) -> dict[str, Tensor]:
    """The parameters as those of `--arch tupe_*` with `OPTIONS`.

    Raises:
        UnusableCheckpointError: it has more than a plain RoBERTa has.
    """
    not_read = {"version", *FAIRSEQ_TRANSFORMER.unused}
    today = {
        key: value
        for key, value in todays_names(state).items()
        if key.rpartition(".")[2] not in not_read
    }
    heads = {key: today.pop(key) for key in list(today) if key.startswith(HEADS)}
    return KEYS.to_ours(today, path) | heads
