"""A tokenizer of Hugging Face's transformers that gives the ids of our preprocessing.

WordPiece and GPT-2's BPE are `tokenizer.json`; Moses with BPE is a class, whose code goes along.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.dictionary_symbols import MASK
from ..data.dictionary_file import NAME, dictionary_in
from ..data.treatment import CODES, STEPS
from .exported import ExportedModel
from .formats.hugging_face import OWN_SPECIALS
from .model_code import code_of
from .tokenizer_files import Vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MODULE, CLASS = "tokenization_tupe", "TupeTokenizer"


def write_tokenizer(
    model: ExportedModel, vocabulary: Vocabulary, data: Path, folder: Path
) -> dict[str, Any]:
    """Write it into a folder.

    Args:
        model: what it is for.
        vocabulary: what text is cut into.
        data: the folder that the vocabulary is from.
        folder: where to write.

    Returns:
        What belongs into `tokenizer_config.json`.
    """
    specials = OWN_SPECIALS if vocabulary.moses else model.family.specials
    first, last = specials["<s>"], specials["</s>"]
    settings = {
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
        return {"tokenizer_class": "PreTrainedTokenizerFast", **settings}
    dictionary = dictionary_in(data)
    assert dictionary is not None
    for source, name in ((dictionary, NAME), (data / CODES, CODES), (data / STEPS, STEPS)):
        shutil.copyfile(source, folder / name)
    for name, text in code_of(MODULE).items():
        (folder / name).write_text(text, encoding="utf-8")
    return {
        "tokenizer_class": CLASS,
        "auto_map": {"AutoTokenizer": [f"{MODULE}.{CLASS}", None]},
        "pair_separators": model.separators,
        **settings,
    }


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
