"""The core encoder as fairseq's models want theirs, and whether it can be had on this machine."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from fairseq import utils
from fairseq.models import FairseqEncoder
from fairseq.modules import LayerNorm
from omegaconf import DictConfig
from torch import Tensor
from torch.nn import functional as F

from ..core.attention_backends import attention_backend, check_backend
from ..core.available_memory import available_bytes, format_bytes
from ..core.encoder import TupeEncoder
from ..core.heads import MaskedLMHead
from ..core.packing import UNPAD
from ..core.position_scheme import scheme_of
from ..core.shapes_only import shapes_only
from .tupe_options import named


class TupeFairseqEncoder(FairseqEncoder):
    """The core encoder with its masked-LM head, under fairseq's encoder interface."""

    def __init__(self, cfg: DictConfig, dictionary: Any) -> None:
        super().__init__(dictionary)
        # apex's fused one where it is installed
        layer_norm = functools.partial(LayerNorm, eps=cfg.layer_norm_eps)
        self.sentence_encoder = TupeEncoder(
            len(dictionary),
            dictionary.pad(),
            num_layers=cfg.encoder_layers,
            embed_dim=cfg.encoder_embed_dim,
            ffn_embed_dim=cfg.encoder_ffn_embed_dim,
            num_heads=cfg.encoder_attention_heads,
            max_positions=cfg.max_positions,
            scheme=scheme_of(named(cfg)),
            num_bins=cfg.rel_pos_bins,
            max_distance=cfg.max_rel_pos,
            position_offset=cfg.position_offset,
            num_segments=cfg.num_segments,
            separator_idx=dictionary.eos(),
            dropout=cfg.dropout,
            attention_dropout=cfg.attention_dropout,
            attention=attention_backend(cfg.attention_backend),
            unpad=UNPAD[str(cfg.unpad)],
            activation_dropout=cfg.activation_dropout,
            activation=activation_function(cfg.activation_fn),
            embedding_normalize=cfg.embedding_normalize,
            normalize_before=cfg.encoder_normalize_before,
            layer_norm=layer_norm,
            init=None,  # TupeModel does it, once for encoder and head
        )
        self.lm_head = MaskedLMHead(
            self.sentence_encoder.embed_tokens.weight,
            activation=activation_function(cfg.activation_fn),
            layer_norm=layer_norm,
            init=None,
        )

    def forward(
        self,
        src_tokens: Tensor,
        features_only: bool = False,
        return_all_hiddens: bool = False,
        masked_tokens: Tensor | None = None,
        **unused: Any,
    ) -> tuple[Tensor, dict[str, Any]]:
        """See `TupeModel.forward`."""
        states = self.sentence_encoder(src_tokens, all_states=return_all_hiddens)
        inner_states = [x.transpose(0, 1) for x in states] if return_all_hiddens else None
        x = states[-1] if features_only else self.lm_head(states[-1], masked_tokens)
        return x, {"inner_states": inner_states}

    def max_positions(self) -> int:
        return self.sentence_encoder.max_positions


def check_attention(cfg: DictConfig) -> None:
    """Look whether the attention that was chosen can be had on this machine.

    Raises:
        ValueError: it cannot.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    head_dim = cfg.encoder_embed_dim // cfg.encoder_attention_heads
    name = str(cfg.attention_backend)
    try:
        check_backend(name, device, head_dim=head_dim, dropout_p=cfg.attention_dropout)
    except ValueError as error:
        raise ValueError(f"--attention-backend {name}: {error}") from None


def check_memory(cfg: DictConfig, dictionary: Any) -> None:
    """Refuse a model that does not fit into memory, before any of it is made.

    Raises:
        ValueError: it does not fit.
    """
    available = available_bytes(torch.get_default_device())
    with shapes_only():
        count = sum(p.numel() for p in TupeFairseqEncoder(cfg, dictionary).parameters())
    needed = count * torch.get_default_dtype().itemsize
    if available is not None and needed > available:
        raise ValueError(
            f"the model has {count:,} parameters, which take {format_bytes(needed)}, and "
            f"{format_bytes(available)} are available: lower --encoder-layers, "
            "--encoder-embed-dim, --encoder-ffn-embed-dim or --max-positions"
        )


def activation_function(name: str) -> Callable[[Tensor], Tensor]:
    """What fairseq calls so, and `gelu` by torch."""
    # fairseq's own gelu goes through a float32 copy, which costs memory in half precision;
    # torch's computes in float32 inside.
    return F.gelu if str(name) == "gelu" else utils.get_activation_fn(str(name))
