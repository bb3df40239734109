"""RoBERTa of Hugging Face's transformers: BERT's layers, positions from 2 on, heads of its own."""

from __future__ import annotations

from .bert import bert_layers
from .hugging_face import POST_LN, HuggingFaceFamily
from .key_table import KeyTable
from .our_names import CARRIED, HEAD, LM_HEAD

ROBERTA_HEADS = (
    ("lm_head.dense.*", f"{LM_HEAD}dense.*"),
    ("lm_head.layer_norm.*", f"{LM_HEAD}layer_norm.*"),
    ("lm_head.bias", f"{LM_HEAD}bias"),
    ("classifier.dense.*", f"{HEAD}dense.*"),
    ("classifier.out_proj.*", f"{HEAD}out_proj.*"),
)
"""MPNet has the same."""


def roberta_tied(prefix: str) -> dict[str, str]:
    """Of RoBERTa and MPNet alike: second names in their heads, and the first ones."""
    return {
        "lm_head.decoder.weight": f"{prefix}embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    }


ROBERTA = HuggingFaceFamily(
    model_type="roberta",
    class_name="Roberta",
    keys=KeyTable(
        (
            *bert_layers("roberta."),
            ("roberta.pooler.dense.*", f"{CARRIED}pooler.dense.*"),  # its pre-training has none
            *ROBERTA_HEADS,
        )
    ),
    tied=roberta_tied("roberta."),
    specials={
        "<s>": "<s>",
        "<pad>": "<pad>",
        "</s>": "</s>",
        "<unk>": "<unk>",
        "<mask>": "<mask>",
    },
    fixed={
        "position_scheme": "bert-a",
        "position_offset": 2,
        "num_segments": 1,
        **POST_LN,
    },
    # Its tokenizer gives both texts of a pair the type 0.
    constants={"type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2},
    special_ids={"pad_token_id": "<pad>"},  # from which it counts positions
    lm_head_activation="gelu",
    classifier_dropout=("pooler_dropout", "pooler_input_dropout"),
    separators=2,
)
