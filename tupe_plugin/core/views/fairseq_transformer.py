"""fairseq's TransformerEncoder: `--arch roberta`, `roberta_base`, `roberta_large`, `xlm`."""

from ..attention_access import HookedAttention
from ..encoder_family import Family

FAIRSEQ_TRANSFORMER = Family(
    name="fairseq-transformer",
    word_embedding="embed_tokens",
    before_layers=("embed_tokens", "embed_positions", "layernorm_embedding", "version"),
    layers="layers",
    after_layers=("layer_norm",),
    biases={
        "query": ("self_attn.q_proj.bias",),
        "key": ("self_attn.k_proj.bias",),
        "value": ("self_attn.v_proj.bias",),
        "attention_output": ("self_attn.out_proj.bias",),
        "intermediate": ("fc1.bias",),
        "output": ("fc2.bias",),
        "layer_norm": ("self_attn_layer_norm.bias", "final_layer_norm.bias"),
    },
    outer_norms={"embedding": "layernorm_embedding.bias", "final": "layer_norm.bias"},
    attention="self_attn",
    access=HookedAttention(
        heads="num_heads",
        source="value",
        mask="attn_mask",
        value="v_proj",
        output="out_proj",
        sequence_first=True,
    ),
    # 0.12.2 keeps copies for an inference kernel, which no training step reads.
    unused=tuple(
        f"{matrix}_{kind}"
        for matrix in ("in_proj", "out_proj", "fc1", "fc2")
        for kind in ("weight", "bias")
    ),
)
