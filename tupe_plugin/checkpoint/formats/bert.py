"""BERT of Hugging Face's transformers, with the heads of pre-training or a classifier."""

from __future__ import annotations

from .hugging_face import POST_LN, HuggingFaceFamily
from .key_table import KeyTable
from .our_names import CARRIED, ENCODER, HEAD, LM_HEAD, POOLER


def bert_layers(prefix: str) -> tuple[tuple[str, str], ...]:
    """Of BERT and RoBERTa alike: names of everything but the heads."""
    layer, our_layer = f"{prefix}encoder.layer.#.", f"{ENCODER}layers.#."
    return (
        (f"{prefix}embeddings.word_embeddings.weight", f"{ENCODER}embed_tokens.weight"),
        (f"{prefix}embeddings.token_type_embeddings.weight", f"{ENCODER}segment_embeddings.weight"),
        (f"{prefix}embeddings.position_embeddings.weight", f"{ENCODER}positions.learned.weight"),
        (f"{prefix}embeddings.LayerNorm.*", f"{ENCODER}embedding_layer_norm.*"),
        (f"{layer}attention.self.{{query,key,value}}.*", f"{our_layer}self_attn.in_proj_*"),
        (f"{layer}attention.output.dense.*", f"{our_layer}self_attn.out_proj.*"),
        (f"{layer}attention.output.LayerNorm.*", f"{our_layer}self_attn_layer_norm.*"),
        (f"{layer}intermediate.dense.*", f"{our_layer}fc1.*"),
        (f"{layer}output.dense.*", f"{our_layer}fc2.*"),
        (f"{layer}output.LayerNorm.*", f"{our_layer}final_layer_norm.*"),
    )


BERT = HuggingFaceFamily(
    model_type="bert",
    class_name="Bert",
    keys=KeyTable(
        (
            *bert_layers("bert."),
            ("bert.pooler.dense.*", f"{POOLER}dense.*"),
            ("cls.predictions.transform.dense.*", f"{LM_HEAD}dense.*"),
            ("cls.predictions.transform.LayerNorm.*", f"{LM_HEAD}layer_norm.*"),
            ("cls.predictions.bias", f"{LM_HEAD}bias"),
            ("cls.seq_relationship.*", f"{CARRIED}next_sentence.*"),
            ("classifier.*", f"{HEAD}out_proj.*"),
        )
    ),
    tied={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    specials={
        "<s>": "[CLS]",
        "<pad>": "[PAD]",
        "</s>": "[SEP]",
        "<unk>": "[UNK]",
        "<mask>": "[MASK]",
    },
    fixed={
        "position_scheme": "bert-a",
        "position_offset": 0,
        **POST_LN,
    },
    sizes={"type_vocab_size": "num_segments"},
    head_is_pooler=True,
)
