"""What `fairseq-train` has to be told of the model that a fine-tuning begins with.

a folder of `tupe import`     its model.args and sentences.args
a checkpoint in such a one    the same
any other checkpoint          what its settings say beside those of its --arch
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..checkpoint.imported_files import MODEL_ARGS, SENTENCES_ARGS
from ..checkpoint.read import read_lazily
from ..checkpoint.run_folder import checkpoint_in
from ..checkpoint.settings import TRAINING_ONLY, settings_of
from .option_words import Options, options_of
from .recipe import load_recipe


class ModelError(ValueError):
    """No model to begin with; the message names the place and says what to do."""


def checkpoint_of(place: Path) -> Path:
    """The checkpoint that a path means, which may be a folder.

    Raises:
        ModelError: there is none.
    """
    if place.is_file():
        return place
    found = checkpoint_in(place)
    if found is None:
        what = f"{place} holds no checkpoint" if place.is_dir() else f"no checkpoint {place}"
        raise ModelError(f"{what} ('none' trains from scratch)")
    return found


def model_options(checkpoint: Path) -> Options:
    """`arch` and what it needs, and the symbols around sentences.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ModelError: it does not say of what architecture it is, or nobody here knows that one.
    """
    folder = checkpoint.parent
    if (folder / MODEL_ARGS).is_file():
        texts = [
            (folder / name).read_text(encoding="utf-8") for name in (MODEL_ARGS, SENTENCES_ARGS)
        ]
        return options_of(" ".join(texts).split())
    settings = settings_of(read_lazily(checkpoint), "model")
    arch = str(settings.get("arch") or settings.get("_name"))
    return {"arch": arch, **_differences(checkpoint, arch, settings), **load_recipe()["sentences"]}


def _differences(checkpoint: Path, arch: str, settings: dict[str, Any]) -> Options:
    """The options of a model that its architecture does not bring along."""
    from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY

    from ..registration import use_with_fairseq

    use_with_fairseq()
    if arch not in ARCH_MODEL_REGISTRY:
        raise ModelError(f"{checkpoint} is of --arch {arch}, which is not known here: give arch")
    usual = argparse.Namespace()
    ARCH_CONFIG_REGISTRY[arch](usual)
    return {
        action.option_strings[-1][2:]: value if isinstance(value, bool) else str(value)
        for action in _declared(ARCH_MODEL_REGISTRY[arch])
        if action.dest not in TRAINING_ONLY
        and (value := settings.get(action.dest)) is not None
        and str(value) != str(getattr(usual, action.dest, action.default))
    }


def _declared(model: Any) -> Iterator[argparse.Action]:
    """The options of a model class, in the form of a parser's."""
    from fairseq.dataclass.utils import gen_parser_from_dataclass

    parser = argparse.ArgumentParser(add_help=False)
    declared = getattr(model, "__dataclass", None)
    if declared is not None:
        gen_parser_from_dataclass(parser, declared())
    else:
        model.add_args(parser)
    yield from (action for action in parser._actions if action.option_strings)
