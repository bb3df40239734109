"""The folder that `tupe export` makes; its files are listed in `commands/export_model.py`."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ..data.label_scale import LABEL_SCALE
from .exported import ExportedModel
from .exported_tokenizer import why_no_tokenizer, write_tokenizer
from .model_code import write_code
from .model_folder import CONFIG, write_json

_CARD = """---
library_name: transformers
tags: [tupe_plugin, {kind}]
---
# {title}

A `{class_name}` that `tupe export` made of the fairseq checkpoint `{checkpoint}`: {layers} layers x
{width}, {heads} heads, sequences of up to {length} tokens, {symbols:,} symbols.

```python
from transformers import {classes_of_transformers}

model = {loader}.from_pretrained("."{trust})
{tokenizer}```
{code}
{outputs}Its text: {text}.

Training data, intended use and limits: not recorded in the checkpoint; to be filled in.
"""
_CODE = """
The model is not one of transformers' own: its code is in this folder, and `trust_remote_code=True`
runs it. It needs transformers 5, and neither fairseq nor tupe_plugin.
"""
_TOKENIZER_CODE = """
The tokenizer is not one of transformers' own: its code is in this folder, and
`trust_remote_code=True` runs it. It needs the packages sacremoses, regex and tokenizers.
"""
_TRUST = ", trust_remote_code=True"


def write_exported(model: ExportedModel, folder: Path, *, title: str, checkpoint: str) -> None:
    """Write all the files. Empties `model.weights`, to save memory.

    Args:
        model: what `export_model` gave.
        folder: where to write.
        title: of the model's card.
        checkpoint: a name for the card.
    """
    from safetensors.torch import save_file

    weights = _each_in_its_own_memory(model.weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / CONFIG, model.config)
    if model.has_code:
        write_code("modeling_tupe", folder)
    write_tokenizer(model, folder)
    card = _card(model, title=title, checkpoint=checkpoint)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _each_in_its_own_memory(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """What safetensors writes: no parts of a larger tensor. Empties `weights`, to save memory."""
    own: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name in list(weights):
        value = weights.pop(name).contiguous()
        if value.nbytes < value.untyped_storage().nbytes() or value.data_ptr() in taken:
            value = value.clone()
        taken.add(value.data_ptr())
        own[name] = value
    return own


def _card(model: ExportedModel, *, title: str, checkpoint: str) -> str:
    vocabulary, has_tokenizer = model.data.vocabulary, why_no_tokenizer(model.data) is None
    if vocabulary is None:
        text = "cut into units in a way that is not recorded"
    elif vocabulary.moses is not None:
        text = "Moses and BPE, as in tupe_plugin's preprocess/"
    elif vocabulary.merges is not None:
        text = "the BPE of GPT-2"
    else:
        text = f"WordPiece, {'without' if vocabulary.lowercase else 'with'} case and accents"
    of_moses = has_tokenizer and vocabulary is not None and vocabulary.moses is not None
    trust = _TRUST if model.has_code or of_moses else ""
    tokenizer = f'tokenizer = AutoTokenizer.from_pretrained("."{trust})\n'
    loader = model.auto_class if model.has_code else model.class_name
    return _CARD.format(
        kind=model.family.model_type,
        title=title,
        class_name=model.class_name,
        classes_of_transformers=", ".join(["AutoTokenizer"] * has_tokenizer + [loader]),
        loader=loader,
        trust=_TRUST if model.has_code else "",
        checkpoint=checkpoint,
        layers=model.config["num_hidden_layers"],
        width=model.config["hidden_size"],
        heads=model.config["num_attention_heads"],
        length=model.max_length,
        symbols=model.config["vocab_size"],
        tokenizer=tokenizer if has_tokenizer else "",
        code=(_CODE if model.has_code else "") + (_TOKENIZER_CODE if of_moses else ""),
        outputs=_outputs(model),
        text=text if has_tokenizer else f"{text}; there is no tokenizer here",
    )


def _outputs(model: ExportedModel) -> str:
    """Of a classifier, or of a regression."""
    names, scale = list(model.config.get("label2id", {})), model.config.get(LABEL_SCALE, 1)
    if model.config.get("problem_type") == "regression":
        return "" if scale == 1 else f"Its output times {scale:g} is a label of its data.\n\n"
    return f"Classes: {', '.join(names)}.\n\n" if names else ""
