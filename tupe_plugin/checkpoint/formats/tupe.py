"""Our own TUPE as a model of Hugging Face's transformers, whose code is in `hugging_face/`.

It holds every encoder of `--arch tupe_*`, so it is also what an encoder becomes that no stock model
of transformers is like: one before its LayerNorms, for instance.
"""

from __future__ import annotations

from ...core.position_scheme import POSITION_SCHEMES
from .bert import BERT
from .hugging_face import ACTIVATIONS, OWN_SPECIALS, HuggingFaceFamily
from .key_table import KeyTable
from .our_names import ENCODER, HEAD, LM_HEAD

_PROJECTION = ("embedding.weight", "layer_norm.*", "query.*", "key.*")
_NAMES = (
    "embed_tokens.weight",
    "segment_embeddings.weight",
    "positions.learned.weight",
    "positions.relative.bias.weight",
    *(f"positions.absolute.projection.{name}" for name in _PROJECTION),
    *(f"positions.projection.{name}" for name in _PROJECTION),
    "embedding_layer_norm.*",
    "layers.#.self_attn.in_proj_*",
    "layers.#.self_attn.out_proj.*",
    "layers.#.self_attn_layer_norm.*",
    "layers.#.fc1.*",
    "layers.#.fc2.*",
    "layers.#.final_layer_norm.*",
    "final_layer_norm.*",
)
_ACTIVATIONS = {**ACTIVATIONS, "tanh": "tanh", "linear": "linear"}

TUPE_IN_TRANSFORMERS = HuggingFaceFamily(
    model_type="tupe",
    class_name="Tupe",
    keys=KeyTable(
        (
            *((f"tupe.encoder.{name}", f"{ENCODER}{name}") for name in _NAMES),
            *((f"lm_head.{n}", f"{LM_HEAD}{n}") for n in ("dense.*", "layer_norm.*", "bias")),
            *((f"classifier.{n}", f"{HEAD}{n}") for n in ("dense.*", "out_proj.*")),
        )
    ),
    tied={"lm_head.weight": "tupe.encoder.embed_tokens.weight"},
    auto_map={
        "AutoConfig": "configuration_tupe.TupeConfig",
        **{
            f"AutoModel{kind}": f"modeling_tupe.Tupe{kind or 'Model'}"
            for kind in ("", "ForMaskedLM", "ForSequenceClassification")
        },
    },
    specials=OWN_SPECIALS,
    wordpiece_specials=BERT.specials,
    fixed={},
    more={
        "rel_pos_bins": "rel_pos_bins",
        "max_rel_pos": "max_rel_pos",
        "position_offset": "position_offset",
        "num_segments": "num_segments",
        "embedding_normalize": "embedding_normalize",
        "normalize_before": "encoder_normalize_before",
        "activation_dropout": "activation_dropout",
        "classifier_input_dropout": "pooler_input_dropout",
    },
    names={
        "position_scheme": ("position_scheme", {name: name for name in POSITION_SCHEMES}),
        "classifier_act": ("pooler_activation_fn", _ACTIVATIONS),
    },
    activations=_ACTIVATIONS,
    special_ids={"bos_token_id": "<s>", "pad_token_id": "<pad>", "eos_token_id": "</s>"},
    separators=2,
)
