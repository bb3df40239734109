"""A tokenizer of Hugging Face's transformers that gives the ids of our preprocessing.

WordPiece and GPT-2's BPE are `tokenizer.json`; Moses with BPE is a class, whose code goes along.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.dictionary_symbols import MASK
from ..data.dictionary_file import NAME
from ..data.treatment import CODES, RECORD, STEPS
from .exported import ExportedModel
from .exported_data import DataOfModel
from .model_code import write_code
from .model_folder import write_json
from .tokenizer_files import Vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MODULE, CLASS = "tokenization_tupe", "TupeTokenizer"


def why_no_tokenizer(data: DataOfModel) -> str | None:
    """Why there can be none for such data; None: there can be one."""
    vocabulary = data.vocabulary
    if vocabulary is None:
        return f"{data.folder} does not say how its text was cut into units ({RECORD})"
    if vocabulary.moses is not None:
        from ..data.text_steps import TEXT_STEPS  # wants the libraries of all steps

        others = [name for name in vocabulary.moses.steps if name not in TEXT_STEPS]
        if others:
            return f"{data.folder / STEPS} names {others[0]}, which is a program of its own"
    return None


def write_tokenizer(model: ExportedModel, folder: Path) -> None:
    """Write what there can be.

    The files of Moses and BPE are written even where there can be no tokenizer: `tupe import` reads
    them.
    """
    data, vocabulary = model.data, model.data.vocabulary
    if vocabulary is None:
        return
    if vocabulary.moses is not None:
        shutil.copyfile(data.dictionary, folder / NAME)
        for name in (CODES, STEPS):
            shutil.copyfile(data.folder / name, folder / name)
    if why_no_tokenizer(data) is not None:
        return
    specials = model.family.specials
    first, last = specials["<s>"], specials["</s>"]
    settings: dict[str, Any] = {
        "model_max_length": model.max_length,
        "model_input_names": [
            "input_ids",
            *(["token_type_ids"] if model.family.has_types else []),
            "attention_mask",
        ],
        **{"cls_token": first, "sep_token": last, "bos_token": first, "eos_token": last},
        "pad_token": specials["<pad>"],
        "unk_token": specials["<unk>"],
        "mask_token": specials[MASK],
    }
    if vocabulary.moses is None:
        make_tokenizer(model, vocabulary).save(str(folder / "tokenizer.json"))
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    else:
        write_code(MODULE, folder)
        settings["tokenizer_class"] = CLASS
        settings["auto_map"] = {"AutoTokenizer": [f"{MODULE}.{CLASS}", None]}
        settings["pair_separators"] = model.separators
    write_json(folder / "tokenizer_config.json", settings)


def make_tokenizer(model: ExportedModel, vocabulary: Vocabulary) -> Tokenizer:
    """Cut text as preprocess/ does, and put the symbols of a sequence around it."""
    from tokenizers import (
        AddedToken,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
    )

    assert model.tokens is not None
    specials = model.family.specials
    ids = {token: number for number, token in enumerate(model.tokens)}
    if vocabulary.merges is None:
        tokenizer = Tokenizer(models.WordPiece(ids, unk_token=specials["<unk>"]))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=vocabulary.lowercase)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
    else:
        merges = [pair for pair in vocabulary.merges if {*pair, "".join(pair)} <= ids.keys()]
        tokenizer = Tokenizer(models.BPE(ids, merges))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, lstrip=token == "<mask>") for token in specials.values()]
    )
    first, end = specials["<s>"], specials["</s>"]
    second = 1 if model.family.has_types else 0
    more = f"{end}:{second} " * (model.separators - 1)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {end}",
        pair=f"{first} $A {end} {more}$B:{second} {end}:{second}",
        special_tokens=[(token, ids[token]) for token in (first, end)],
    )
    return tokenizer
