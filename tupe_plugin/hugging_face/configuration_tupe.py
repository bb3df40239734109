"""Configuration of TUPE in Hugging Face's transformers."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig


class TupeConfig(PreTrainedConfig):
    """Sizes and choices of a TUPE encoder, and of BERT's with other positions.

    What BERT has too bears its name there. The rest:

    Args:
        position_scheme: what the encoder knows of positions: `tupe-a`, `tupe-r` ...
            (`position_scheme.py` has the table).
        rel_pos_bins: bins of the relative positions, if the scheme has them.
        max_rel_pos: distance from which on all of them share a bin.
        position_offset: unused rows in front of learned positions.
        num_segments: token types, told by the `eos_token_id` before them; 0: none.
        embedding_normalize: LayerNorm on the embeddings.
        normalize_before: LayerNorm before each block (pre-LN) and after the last.
        activation_dropout: dropout after the activation of the feed-forward blocks.
        classifier_input_dropout: dropout before the classifier's dense layer.
        classifier_act: activation of the classifier's dense layer.
    """

    model_type = "tupe"

    def __init__(
        self,
        vocab_size: int = 30528,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        max_position_embeddings: int = 512,
        hidden_act: str = "gelu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        layer_norm_eps: float = 1e-5,
        initializer_range: float = 0.02,
        position_scheme: str = "tupe-a",
        rel_pos_bins: int = 32,
        max_rel_pos: int = 128,
        position_offset: int = 0,
        num_segments: int = 0,
        embedding_normalize: bool = False,
        normalize_before: bool = False,
        activation_dropout: float = 0.0,
        classifier_dropout: float = 0.1,
        classifier_input_dropout: float = 0.0,
        classifier_act: str = "tanh",
        bos_token_id: int = 0,
        pad_token_id: int = 1,
        eos_token_id: int = 2,
        tie_word_embeddings: bool = True,
        **others: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.max_position_embeddings = max_position_embeddings
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.position_scheme = position_scheme
        self.rel_pos_bins = rel_pos_bins
        self.max_rel_pos = max_rel_pos
        self.position_offset = position_offset
        self.num_segments = num_segments
        self.embedding_normalize = embedding_normalize
        self.normalize_before = normalize_before
        self.activation_dropout = activation_dropout
        self.classifier_dropout = classifier_dropout
        self.classifier_input_dropout = classifier_input_dropout
        self.classifier_act = classifier_act
        self.bos_token_id = bos_token_id
        self.pad_token_id = pad_token_id
        self.eos_token_id = eos_token_id
        self.tie_word_embeddings = tie_word_embeddings
        super().__init__(**others)
