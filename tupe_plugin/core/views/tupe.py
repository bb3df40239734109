"""This package's encoder, with each of its position schemes."""

from ..attention_access import AttentionWithNoise
from ..encoder_family import Family

TUPE = Family(
    name="tupe",
    word_embedding="embed_tokens",
    before_layers=("embed_tokens", "segment_embeddings", "positions", "embedding_layer_norm"),
    layers="layers",
    after_layers=("final_layer_norm",),
    biases={
        "query": ("self_attn.in_proj_bias",),
        "key": ("self_attn.in_proj_bias",),
        "value": ("self_attn.in_proj_bias",),
        "attention_output": ("self_attn.out_proj.bias",),
        "intermediate": ("fc1.bias",),
        "output": ("fc2.bias",),
        "layer_norm": ("self_attn_layer_norm.bias", "final_layer_norm.bias"),
    },
    outer_norms={"embedding": "embedding_layer_norm.bias", "final": "final_layer_norm.bias"},
    attention="self_attn",
    access=AttentionWithNoise(),
    # An embedding of positions, like BERT's tables, which BitFit freezes; so the positional part
    # of the logits stays a constant.
    without_role=("positions",),
)
