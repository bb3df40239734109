"""MPNet of Hugging Face's transformers: BERT with T5's relative positions in every layer."""

from __future__ import annotations

from .hugging_face import POST_LN, HuggingFaceFamily
from .key_table import KeyTable
from .our_names import CARRIED, ENCODER
from .roberta import ROBERTA_HEADS, roberta_tied

_LAYER, _OURS = "mpnet.encoder.layer.#.", f"{ENCODER}layers.#."

MPNET = HuggingFaceFamily(
    model_type="mpnet",
    class_name="MPNet",
    keys=KeyTable(
        (
            ("mpnet.embeddings.word_embeddings.weight", f"{ENCODER}embed_tokens.weight"),
            ("mpnet.embeddings.position_embeddings.weight", f"{ENCODER}positions.learned.weight"),
            ("mpnet.embeddings.LayerNorm.*", f"{ENCODER}embedding_layer_norm.*"),
            (
                "mpnet.encoder.relative_attention_bias.weight",
                f"{ENCODER}positions.relative.bias.weight",
            ),
            (f"{_LAYER}attention.attn.{{q,k,v}}.*", f"{_OURS}self_attn.in_proj_*"),
            (f"{_LAYER}attention.attn.o.*", f"{_OURS}self_attn.out_proj.*"),
            (f"{_LAYER}attention.LayerNorm.*", f"{_OURS}self_attn_layer_norm.*"),
            (f"{_LAYER}intermediate.dense.*", f"{_OURS}fc1.*"),
            (f"{_LAYER}output.dense.*", f"{_OURS}fc2.*"),
            (f"{_LAYER}output.LayerNorm.*", f"{_OURS}final_layer_norm.*"),
            ("mpnet.pooler.dense.*", f"{CARRIED}pooler.dense.*"),  # its classifier has another
            *ROBERTA_HEADS,
        )
    ),
    tied=roberta_tied("mpnet."),
    specials={
        "<s>": "<s>",
        "<pad>": "<pad>",
        "</s>": "</s>",
        "<unk>": "[UNK]",
        "<mask>": "<mask>",
    },
    fixed={
        "position_scheme": "bert-r",
        "position_offset": 2,
        "num_segments": 0,
        "rel_pos_bins": 32,
        "max_rel_pos": 128,
        **POST_LN,
    },
    constants={
        "relative_attention_num_buckets": 32,  # of any other number its model reads 32 too
        **{"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2},
    },
    special_ids={"pad_token_id": "<pad>"},  # from which it counts positions
    lm_head_activation="gelu",
    classifier_dropout=("pooler_dropout", "pooler_input_dropout"),
    separators=2,
)
