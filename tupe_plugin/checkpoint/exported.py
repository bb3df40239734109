"""A checkpoint of fairseq as a model of Hugging Face's transformers.

| checkpoint                                    | becomes    |
|-----------------------------------------------|------------|
| `--arch tupe_*`, BERT-A                       | BERT       |
| the same with `--position-offset 2`, fairseq's `--arch roberta` | RoBERTa |
| `--arch tupe_*`, BERT-R                       | MPNet      |
| other position schemes, and what no stock model is like | our own TUPE |

What a stock model has and the checkpoint lacks is added as zeros, which change no result.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.dictionary_symbols import FAIRSEQ_SYMBOLS, MASK
from ..core.position_scheme import scheme_of
from ..core.views.tupe import TUPE
from ..data.glue_tasks import task_of_data
from ..data.label_scale import LABEL_SCALE, label_scale
from .encoder_checkpoint import EncoderCheckpoint, read_encoder_checkpoint
from .errors import UnusableCheckpointError
from .exported_data import DataOfModel, read_data_of_model
from .formats import HUGGING_FACE, TUPE_IN_TRANSFORMERS, HuggingFaceFamily, fairseq_roberta
from .formats.config_values import default_label
from .formats.hugging_face import SEPARATORS
from .formats.our_names import ENCODER, HEAD, HEAD_NAME, HEADS
from .formats.vocabulary_rows import symbols_and_rows
from .head_shapes import check_heads
from .settings import BEFORE_THERE_WERE_OPTIONS
from .tokenizer_files import Vocabulary


@dataclass(frozen=True)
class ExportedModel:
    """What a folder of transformers holds."""

    family: HuggingFaceFamily
    class_name: str
    config: dict[str, Any]
    weights: dict[str, Tensor]
    tokens: list[str] | None
    """In the order of their ids; None: they are not known."""
    separators: int
    """Between the texts of a pair."""
    data: DataOfModel

    @property
    def has_code(self) -> bool:
        """Whether transformers has no such model, so that its code must go along."""
        return bool(self.family.auto_map)

    @property
    def auto_class(self) -> str:
        """The class of transformers that finds this one."""
        kind = self.class_name.removeprefix(self.family.class_name)
        return f"AutoModel{kind.removeprefix('Model')}"

    @property
    def lacks_names(self) -> bool:
        """Whether its classes are LABEL_0, LABEL_1 ..., because the data have no names of them."""
        return len(self.config.get("id2label", ())) > 1 and self.data.classes is None

    @property
    def max_length(self) -> int:
        """Of a sequence, in tokens."""
        unread = self.family.fixed.get("position_offset", 0)
        return int(self.config["max_position_embeddings"]) - int(unread)


def export_model(path: Path, *, data: Path | None) -> ExportedModel:
    """Read a checkpoint and translate it.

    Args:
        path: of the checkpoint.
        data: what it was trained on, or the folder of `tupe import`; None: what it names.

    Raises:
        CheckpointError: no such model can be made of it.
        OSError: a file cannot be read.
    """
    checkpoint = read_encoder_checkpoint(path)
    named = checkpoint.config.get("task", {}).get("data")
    of_data = read_data_of_model(data or Path(str(named or path.parent)))
    vocabulary = of_data.vocabulary
    family, weights, options = _in_a_family(*_of_tupe(checkpoint))
    if vocabulary is not None:
        family = family.for_vocabulary(vocabulary.kind)
    config = family.config(options, path)
    number = len(weights[f"{ENCODER}embed_tokens.weight"])
    tokens, rows = _rows(family, vocabulary, of_data.units, number, path)
    theirs, class_name = family.to_theirs(weights, rows=rows, path=path)
    config |= {"architectures": [class_name], "vocab_size": number}
    ids = {"pad_token_id": "<pad>", **family.special_ids}
    config |= {name: rows[FAIRSEQ_SYMBOLS.index(symbol)] for name, symbol in ids.items()}
    config["dtype"] = str(next(iter(theirs.values())).dtype).removeprefix("torch.")
    separators = _separators(checkpoint, family)
    if separators != family.separators:
        config[SEPARATORS] = separators
    outputs = weights.get(f"{HEAD}out_proj.bias")
    if outputs is not None:
        config |= _label_settings(len(outputs), of_data, path)
    return ExportedModel(family, class_name, config, theirs, tokens, separators, of_data)


def _label_settings(outputs: int, data: DataOfModel, path: Path) -> dict[str, Any]:
    """What the configuration says of a classifier's outputs, or of a regression's one."""
    classes = data.classes
    if classes is None:
        classes = [default_label(place) for place in range(outputs)]
    if len(classes) != outputs:
        raise UnusableCheckpointError(
            f"{path} has {outputs} outputs, and {data.folder} has {len(classes)} "
            "classes: give --data the data that it was trained on"
        )
    settings: dict[str, Any] = {
        "id2label": {str(place): name for place, name in enumerate(classes)},
        "label2id": {name: place for place, name in enumerate(classes)},
    }
    if outputs == 1:
        settings["problem_type"] = "regression"
        scale = label_scale(task_of_data(data.folder), data.folder)
        settings |= {} if scale == 1 else {LABEL_SCALE: scale}
    return settings


def _of_tupe(checkpoint: EncoderCheckpoint) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Parameters and options, as of `--arch tupe_*`."""
    settings = {**BEFORE_THERE_WERE_OPTIONS, **checkpoint.model}
    weights = dict(checkpoint.weights)
    if checkpoint.names.family is not TUPE:
        if not fairseq_roberta.is_roberta(weights):
            raise UnusableCheckpointError(
                f"{checkpoint.path} is a {checkpoint.names.family.name}: what is exported is "
                "--arch tupe_* and roberta"
            )
        weights = fairseq_roberta.to_ours(weights, checkpoint.path)
        settings |= fairseq_roberta.OPTIONS
        settings["pooler_activation_fn"] = checkpoint.model.get("pooler_activation_fn", "tanh")
    settings["encoder_ffn_embed_dim"] = len(weights[f"{ENCODER}layers.0.fc1.bias"])
    settings["position_scheme"] = scheme_of(settings).name
    return _with_one_head(weights, checkpoint.path), settings


def _with_one_head(weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The task's classification head, or the only one, under its usual name."""
    names = sorted({key.split(".")[1] for key in weights if key.startswith(HEADS)})
    if len(names) > 1 and HEAD_NAME not in names:
        raise UnusableCheckpointError(f"{path} has {len(names)} heads: {', '.join(names)}")
    kept = {key: value for key, value in weights.items() if not key.startswith(HEADS)}
    if names:
        chosen = f"{HEADS}{HEAD_NAME if HEAD_NAME in names else names[0]}."
        head = {key: value for key, value in weights.items() if key.startswith(chosen)}
        kept |= {HEAD + key.removeprefix(chosen): value for key, value in head.items()}
    check_heads(kept, path)
    return kept


def _in_a_family(
    weights: dict[str, Tensor], options: dict[str, Any]
) -> tuple[HuggingFaceFamily, dict[str, Tensor], dict[str, Any]]:
    """The stock family that has such a model, if there is one, and the model as it is there."""
    for family in HUGGING_FACE.values():
        if family.fixed.get("position_scheme") != options["position_scheme"]:
            continue
        filled = _filled_up(weights, options, family)
        problem = family.misfit(filled[1]) or family.misfit_of_lm_head(*filled)
        if problem is None:
            return family, *filled
    return TUPE_IN_TRANSFORMERS, weights, options


def _filled_up(
    weights: dict[str, Tensor], options: dict[str, Any], family: HuggingFaceFamily
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """With zeros for rows that are never read, and for the token types of a model without."""
    positions = f"{ENCODER}positions.learned.weight"
    table, offset = weights[positions], family.fixed["position_offset"]
    if options["position_offset"] == 0 and offset:
        rows = torch.cat([table.new_zeros(offset, table.size(1)), table])
        weights, options = {**weights, positions: rows}, {**options, "position_offset": offset}
    types = family.fixed.get("num_segments", 2)
    if not options["num_segments"] and types:
        segments = {f"{ENCODER}segment_embeddings.weight": table.new_zeros(types, table.size(1))}
        weights, options = {**weights, **segments}, {**options, "num_segments": types}
    return weights, options


def _separators(checkpoint: EncoderCheckpoint, family: HuggingFaceFamily) -> int:
    """Symbols between the texts of a pair, as the model was fine-tuned; else the family's.

    Raises:
        UnusableCheckpointError: the sequences that it was fine-tuned on have other symbols.
    """
    task = checkpoint.config.get("task", {})
    if "init_token" not in task:
        return family.separators
    first, between = task["init_token"], task.get("separator_token")
    if first != 0 or between not in (None, 2):
        raise UnusableCheckpointError(
            f"{checkpoint.path} was fine-tuned with --init-token {first} --separator-token "
            f"{between}; transformers' tokenizers give <s> in front (0) and </s> between the texts "
            "of a pair (2)"
        )
    return 1 if between is None else 2


def _rows(
    family: HuggingFaceFamily,
    vocabulary: Vocabulary | None,
    units: list[str],
    number: int,
    path: Path,
) -> tuple[list[str] | None, list[int]]:
    """Tokens in the order of their ids, and of each symbol of ours its row there."""
    special = [family.specials[symbol] for symbol in FAIRSEQ_SYMBOLS]
    ours = [*special, *units, family.specials[MASK]]
    if len(ours) != number:
        raise UnusableCheckpointError(
            f"{path} has {number:,} symbols, and with its dict.txt there are {len(ours):,}: give "
            "--data the data that it was trained on"
        )
    if vocabulary is None:
        return None, list(range(number))
    if not set(family.specials.values()) <= set(vocabulary.tokens):
        return ours, list(range(number))
    names, rows = symbols_and_rows(family.specials, vocabulary.tokens, number, path)
    if names != units:
        raise UnusableCheckpointError(
            f"{path}: its dict.txt does not list the vocabulary in its order, as `tupe import` and "
            "preprocess/ write it"
        )
    return vocabulary.tokens, rows
