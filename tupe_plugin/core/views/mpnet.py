"""MPNet of Hugging Face's transformers."""

from ..attention_access import HookedAttention
from ..encoder_family import Family

MPNET = Family(
    name="mpnet",
    word_embedding="embeddings.word_embeddings",
    before_layers=("embeddings", "encoder.relative_attention_bias"),
    layers="encoder.layer",
    after_layers=(),
    biases={
        "query": ("attention.attn.q.bias",),
        "key": ("attention.attn.k.bias",),
        "value": ("attention.attn.v.bias",),
        "attention_output": ("attention.attn.o.bias",),
        "intermediate": ("intermediate.dense.bias",),
        "output": ("output.dense.bias",),
        "layer_norm": ("attention.LayerNorm.bias", "output.LayerNorm.bias"),
    },
    outer_norms={"embedding": "embeddings.LayerNorm.bias"},
    attention="attention.attn",
    access=HookedAttention(
        heads="num_attention_heads",
        source="hidden_states",
        mask="attention_mask",
        value="v",
        output="o",
    ),
    heads=("pooler",),
)
