"""DistilBERT of Hugging Face's transformers."""

from ..attention_access import HookedAttention
from ..encoder_family import Family

DISTILBERT = Family(
    name="distilbert",
    word_embedding="embeddings.word_embeddings",
    before_layers=("embeddings",),
    layers="transformer.layer",
    after_layers=(),
    biases={
        "query": ("attention.q_lin.bias",),
        "key": ("attention.k_lin.bias",),
        "value": ("attention.v_lin.bias",),
        "attention_output": ("attention.out_lin.bias",),
        "intermediate": ("ffn.lin1.bias",),
        "output": ("ffn.lin2.bias",),
        "layer_norm": ("sa_layer_norm.bias", "output_layer_norm.bias"),
    },
    outer_norms={"embedding": "embeddings.LayerNorm.bias"},
    attention="attention",
    access=HookedAttention(
        heads="n_heads",
        source="hidden_states",
        mask="attention_mask",
        value="v_lin",
        output="out_lin",
    ),
)
