"""BERT, RoBERTa and ELECTRA of Hugging Face's transformers: one structure, three names."""

from ..attention_access import HookedAttention
from ..encoder_family import Family

BERT = Family(
    name="bert",
    word_embedding="embeddings.word_embeddings",
    before_layers=("embeddings", "embeddings_project"),
    layers="encoder.layer",
    after_layers=(),
    biases={
        "query": ("attention.self.query.bias",),
        "key": ("attention.self.key.bias",),
        "value": ("attention.self.value.bias",),
        "attention_output": ("attention.output.dense.bias",),
        "intermediate": ("intermediate.dense.bias",),
        "output": ("output.dense.bias",),
        "layer_norm": ("attention.output.LayerNorm.bias", "output.LayerNorm.bias"),
    },
    outer_norms={"embedding": "embeddings.LayerNorm.bias"},
    attention="attention.self",
    access=HookedAttention(
        heads="num_attention_heads", source="hidden_states", mask="attention_mask", value="value"
    ),
    heads=("pooler",),
    without_role=("embeddings_project",),  # ELECTRA's, where its embeddings are narrower
)
