"""TUPE in Hugging Face's transformers: bare, with the masked-LM head, with a classifier.

The arithmetic is in `encoder.py`, `heads.py` and what they import. `<pad>` is never attended to,
whether `attention_mask` says so or not, and padding comes last, as in training.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    SequenceClassifierOutput,
)
from transformers.utils import can_return_tuple

from ..core.attention import MultiheadSelfAttention
from ..core.attention_backends import BACKENDS, Attention, attention_backend
from ..core.encoder import TupeEncoder
from ..core.heads import ClassificationHead, MaskedLMHead
from ..core.position_scheme import position_scheme
from ..core.relative_position import RelativePositionBias
from .configuration_tupe import TupeConfig


class TupePreTrainedModel(PreTrainedModel):
    """What the models below have in common."""

    config: TupeConfig
    config_class = TupeConfig
    base_model_prefix = "tupe"
    _supports_sdpa = True
    _no_split_modules = ["TupeEncoderLayer"]  # noqa: RUF012 (transformers' own form)

    def _init_weights(self, module: nn.Module) -> None:
        """First weights of what a checkpoint lacks, BERT's."""
        super()._init_weights(module)
        if isinstance(module, MultiheadSelfAttention):
            init.normal_(module.in_proj_weight, std=self.config.initializer_range)
            init.zeros_(module.in_proj_bias)
        elif isinstance(module, MaskedLMHead):
            init.zeros_(module.bias)
        elif isinstance(module, RelativePositionBias):
            module.place_buckets()  # no checkpoint has this table


class TupeModel(TupePreTrainedModel):
    """Tokens -> features."""

    def __init__(self, config: TupeConfig) -> None:
        super().__init__(config)
        self.encoder = TupeEncoder(
            config.vocab_size,
            config.pad_token_id,
            num_layers=config.num_hidden_layers,
            embed_dim=config.hidden_size,
            ffn_embed_dim=config.intermediate_size,
            num_heads=config.num_attention_heads,
            max_positions=config.max_position_embeddings,
            scheme=position_scheme(config.position_scheme),
            num_bins=config.rel_pos_bins,
            max_distance=config.max_rel_pos,
            position_offset=config.position_offset,
            num_segments=config.num_segments,
            separator_idx=config.eos_token_id,
            dropout=config.hidden_dropout_prob,
            attention_dropout=config.attention_probs_dropout_prob,
            activation_dropout=config.activation_dropout,
            activation=ACT2FN[config.hidden_act],
            embedding_normalize=config.embedding_normalize,
            normalize_before=config.normalize_before,
            layer_norm=_layer_norm(config),
            attention=_backend(config._attn_implementation),
            init=None,
        )
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.encoder.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        assert isinstance(value, nn.Embedding)
        self.encoder.embed_tokens = value

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutput:
        """Encode.

        Args:
            input_ids: `(batch, seq)`, `<s>` first, padding last.
            attention_mask: `(batch, seq)`, 0 = padding; default: where `input_ids` is `<pad>`.
            output_hidden_states: give the embedded input and what each layer gives, too.
        """
        if attention_mask is not None:
            if attention_mask.shape != input_ids.shape:
                raise ValueError(
                    f"attention_mask is {tuple(attention_mask.shape)}: give one of the shape of "
                    f"input_ids, {tuple(input_ids.shape)}, with 0 for padding"
                )
            input_ids = input_ids.masked_fill(attention_mask == 0, self.encoder.padding_idx)
        _check_padding(input_ids.eq(self.encoder.padding_idx))
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        states = self.encoder(input_ids, all_states=bool(output_hidden_states))
        return BaseModelOutput(
            last_hidden_state=states[-1],
            hidden_states=tuple(states) if output_hidden_states else None,
        )


class TupeForMaskedLM(TupePreTrainedModel):
    """Tokens -> logits over the vocabulary."""

    _tied_weights_keys = {  # noqa: RUF012 (transformers' own form)
        "lm_head.weight": "tupe.encoder.embed_tokens.weight"
    }

    def __init__(self, config: TupeConfig) -> None:
        super().__init__(config)
        self.tupe = TupeModel(config)
        self.lm_head = MaskedLMHead(
            self.tupe.encoder.embed_tokens.weight,
            activation=ACT2FN[config.hidden_act],
            layer_norm=_layer_norm(config),
            init=None,
        )
        self.post_init()

    def get_output_embeddings(self) -> None:
        """None: the head has the input's matrix, and follows it when tokens are added."""
        return None

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> MaskedLMOutput:
        """Predict each token; `labels` `(batch, seq)`, -100 = not asked for."""
        outputs = self.tupe(
            input_ids, attention_mask, output_hidden_states=output_hidden_states, return_dict=True
        )
        logits = self.lm_head(outputs.last_hidden_state)
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.vocab_size
            )
        return MaskedLMOutput(loss=loss, logits=logits, hidden_states=outputs.hidden_states)


class TupeForSequenceClassification(TupePreTrainedModel):
    """A text, or a pair -> class logits, or one number."""

    def __init__(self, config: TupeConfig) -> None:
        super().__init__(config)
        self.tupe = TupeModel(config)
        self.classifier = ClassificationHead(
            config.hidden_size,
            config.num_labels or 2,  # transformers' own default
            activation=ACT2FN[config.classifier_act],
            dropout=config.classifier_dropout,
            input_dropout=config.classifier_input_dropout,
            init=None,
        )
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> SequenceClassifierOutput:
        """Classify; `labels` `(batch,)`, numbers of classes, or values of a regression."""
        outputs = self.tupe(
            input_ids, attention_mask, output_hidden_states=output_hidden_states, return_dict=True
        )
        logits = self.classifier(outputs.last_hidden_state)
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states
        )


def _backend(name: str) -> Attention:
    """By transformers' name, or by ours."""
    return attention_backend({"eager": "explicit"}.get(name, name))


def _of_other_models(*args: Any, **kwargs: Any) -> Any:
    raise ValueError("this attn_implementation is one of TUPE's: choose another for this model")


# transformers takes no name of `attn_implementation=` that it does not know.
for _name in BACKENDS.keys() - {"sdpa"}:
    AttentionInterface.register(_name, _of_other_models)


def _check_padding(padding: Tensor) -> None:
    """Refuse padding `(batch, seq)` in front: positions count from it, and features are read there.

    A graph that is traced cannot look at what is in a batch.
    """
    if torch.compiler.is_compiling():
        return
    if (padding[:, 0] & ~padding.all(1)).any():
        raise ValueError(
            "padding comes before a text: pad behind it (padding_side='right' of the tokenizer)"
        )


def _layer_norm(config: TupeConfig) -> partial[nn.LayerNorm]:
    return partial(nn.LayerNorm, eps=config.layer_norm_eps)
