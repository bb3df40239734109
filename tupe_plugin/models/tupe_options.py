# ruff: noqa: UP045  (fairseq reads Optional[...] of a config dataclass, not X | None)
"""The options of ``--arch tupe_*``, and which of them do not go together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq import utils
from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from ..core.attention_backends import AUTO, BACKENDS
from ..core.bounds import DROPOUT, LAYER_NORM_EPS, MAX_POSITIONS, Whole, check_options, option
from ..core.packing import UNPAD
from ..core.position_scheme import POSITION_SCHEMES, scheme_of
from .bitfit_terms import BITFIT_TERMS


@dataclass
class TupeConfig(FairseqDataclass):
    """Options of the model; what is None here is set by the architecture (``--arch``)."""

    encoder_layers: Optional[int] = option(
        None, Whole(1, 1_000), "number of layers (default: the architecture's)"
    )
    encoder_embed_dim: Optional[int] = option(
        None, Whole(1, 100_000), "width of the encoder (default: the architecture's)"
    )
    encoder_ffn_embed_dim: Optional[int] = option(
        None,
        Whole(1, 1_000_000),
        "inner width of the feed-forward blocks (default: the architecture's)",
    )
    encoder_attention_heads: Optional[int] = option(
        None, Whole(1, 100_000), "attention heads (default: the architecture's)"
    )
    position_scheme: ChoiceEnum(list(POSITION_SCHEMES)) = field(  # type: ignore[valid-type]
        default="tupe-a",
        metadata={
            "help": "what the encoder knows of positions, a row of Table 1 of the TUPE paper, "
            "or none"
        },
    )
    rel_pos: bool = field(
        default=False,
        metadata={"help": "add relative positions: tupe-a becomes tupe-r, bert-a becomes bert-r"},
    )
    rel_pos_bins: int = option(
        32,
        Whole(4, 100_000, even=True),
        "bins of the relative positions, half of them for each direction",
    )
    max_rel_pos: int = option(
        128,
        Whole(2, 1_000_000),
        "all relative positions from this distance on share a bin",
    )
    max_positions: int = option(
        512,
        MAX_POSITIONS,
        "longest sequence in tokens; fine-tuning needs the value of the pre-training",
    )
    position_offset: int = option(
        0,
        Whole(0, 1_000),
        "rows of the learned positions that come before the first position and are never read, "
        "beyond --max-positions (RoBERTa and MPNet: 2)",
    )
    num_segments: int = option(
        0,
        Whole(0, 1_000),
        "token types: the sentences of a pair, told apart by the </s> before them, have a vector "
        "each, in the input (BERT: 2; then leave --separator-token out)",
    )
    embedding_normalize: bool = field(
        default=False, metadata={"help": "LayerNorm on the embeddings"}
    )
    encoder_normalize_before: bool = field(
        default=False, metadata={"help": "LayerNorm before each block (pre-LN) and after the last"}
    )
    layer_norm_eps: float = option(
        1e-5, LAYER_NORM_EPS, "added to the variance in every LayerNorm (BERT: 1e-12)"
    )
    activation_fn: ChoiceEnum(utils.get_available_activation_fns()) = field(  # type: ignore[valid-type]
        default="gelu", metadata={"help": "activation of feed-forward blocks and masked-LM head"}
    )
    dropout: float = option(0.1, DROPOUT, "dropout after embedding, attention and feed-forward")
    attention_dropout: float = option(0.1, DROPOUT, "dropout on the attention weights")
    attention_backend: ChoiceEnum([AUTO, *BACKENDS]) = field(  # type: ignore[valid-type]
        default=AUTO,
        metadata={
            "help": "what computes the attention: explicit (the equation, step by step), sdpa "
            "(torch's scaled_dot_product_attention), flex (torch's FlexAttention; needs "
            "--attention-dropout 0), triton (our kernel, which has not run on a GPU yet); auto is "
            "sdpa, until another one is measured to be faster"
        },
    )
    unpad: ChoiceEnum(list(UNPAD)) = field(  # type: ignore[valid-type]
        default="auto",
        metadata={
            "help": "leave padding out of all but the attention: always, never, or auto, on a CPU "
            "alone (on a GPU it means to wait for the GPU once for each batch)"
        },
    )
    activation_dropout: float = option(0.0, DROPOUT, "dropout after the feed-forward activation")
    pooler_dropout: float = option(
        0.1, DROPOUT, "dropout before the classification head's output layer"
    )
    pooler_input_dropout: float = option(
        0.0,
        DROPOUT,
        "dropout before the classification head's dense layer (RoBERTa: as --pooler-dropout)",
    )
    pooler_activation_fn: ChoiceEnum(utils.get_available_activation_fns()) = field(  # type: ignore[valid-type]
        default="tanh", metadata={"help": "activation of the classification head's dense layer"}
    )
    load_checkpoint_heads: bool = field(
        default=False,
        metadata={"help": "take over the classification heads of a loaded checkpoint"},
    )
    bitfit_terms: Optional[str] = option(None, *BITFIT_TERMS)


def check_tupe_options(cfg: Any) -> None:
    """Refuse options that are out of bounds, or do not fit each other.

    Raises:
        ValueError: there is such an option.
    """
    check_options(cfg, TupeConfig)
    embed_dim, heads = (
        getattr(cfg, name, None) for name in ("encoder_embed_dim", "encoder_attention_heads")
    )
    if embed_dim and heads and embed_dim % heads:
        raise ValueError(
            f"--encoder-embed-dim {embed_dim} is no multiple of --encoder-attention-heads "
            f"{heads}: each head needs the same number of features"
        )
    try:
        scheme = scheme_of(named(cfg))
    except ValueError as error:
        raise ValueError(f"--rel-pos: {error}") from None
    if cfg.position_offset and not scheme.has_learned:
        raise ValueError(
            f"--position-offset {cfg.position_offset}: position scheme {scheme.name} has no "
            "learned positions in its input; leave the option out, or give --position-scheme "
            "bert-a or bert-r"
        )
    one_by_one = cfg.rel_pos_bins // 4
    if scheme.has_relative and cfg.max_rel_pos <= one_by_one:
        raise ValueError(
            f"--max-rel-pos {cfg.max_rel_pos}: give more than {one_by_one}, the distances "
            f"that --rel-pos-bins {cfg.rel_pos_bins} tells apart one by one"
        )


def named(cfg: Any) -> Mapping[str, Any]:
    """Options by name; fairseq gives them as omegaconf's, a dataclass or a namespace."""
    return cfg if isinstance(cfg, Mapping) else vars(cfg)
