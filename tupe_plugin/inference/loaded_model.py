"""A trained model with everything that a raw sentence needs: dictionary, text treatment, labels.

A checkpoint holds none of these. They lie in the folder of data that it was trained on, beside the
checkpoint, or where the user says.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..checkpoint.file_kind import refuse_what_is_no_file
from ..checkpoint.formats.hugging_face import SEPARATORS
from ..checkpoint.imported import import_model
from ..checkpoint.imported_files import write_imported
from ..checkpoint.model_folder import is_model
from ..checkpoint.run_folder import OF_IMPORT, checkpoint_in
from ..checkpoint.upgraded import read_upgraded
from ..data.dictionary_file import NAME, OF_SENTENCES, dictionary_in, symbols_in
from ..data.treatment import RECORD, TextTreatment, manifest_options, read_treatment
from .model_on_data import build_model, set_up_task
from .predictor import FineTuned, Predictor, is_fine_tuned

_LM_HEAD = "lm_head."  # whatever stands before it: older checkpoints have other names
_GIVE_DATA = "(in Python data=, on the command line --data)"


class LoadError(ValueError):
    """A model cannot be used on raw text; the message says what is missing and what to give."""


@dataclass(frozen=True)
class LoadedModel:
    """What `load` found."""

    path: Path
    """The checkpoint; or the folder of transformers or its file of weights, as given."""
    data: Path
    """The folder that has the dictionary."""
    arch: str
    """Its name in fairseq's registry."""
    module: Any
    """fairseq's model, in eval mode, on its device."""
    task: Any
    """fairseq's."""
    treatment: TextTreatment
    separators: int
    """Between the texts of a pair, where the task does not say."""
    predictor: Predictor | None
    """Of a model that was fine-tuned for sentence prediction."""
    has_lm_head: bool
    """Whether the checkpoint has one; fairseq's model has a random one where it has none."""


def load(path: Path, *, data: Path | None, device: torch.device, half: bool) -> LoadedModel:
    """Read a model, safely, and what belongs to it.

    Args:
        path: a checkpoint, or a folder that has one; a folder of transformers, or its file of
            weights.
        data: a folder with what the checkpoint's own data lacks: the dictionary (with labels), or
            the record of the text's treatment, or both.
        device: where the model runs.
        half: in half precision.

    Raises:
        CheckpointError: there is no such file, or it cannot be used.
        LoadError: the dictionary or the record is nowhere, or of another model.
        DataError, PredictionError: model and data do not belong together.
    """
    checkpoint = checkpoint_in(path)
    if checkpoint is None and is_model(path):
        return _load_imported(path, data=data, device=device, half=half)
    return _load_checkpoint(checkpoint or path, data=data, device=device, half=half)


def _load_imported(
    path: Path, *, data: Path | None, device: torch.device, half: bool
) -> LoadedModel:
    """What `tupe import` would make of it, in a folder that is gone afterwards."""
    if data is not None:
        raise LoadError(f"{path} has a vocabulary of its own: leave {data} out {_GIVE_DATA}")
    with tempfile.TemporaryDirectory(prefix="tupe-import-") as made:
        folder = Path(made)
        write_imported(import_model(path), folder)
        loaded = _load_checkpoint(folder / OF_IMPORT, data=None, device=device, half=half)
    return replace(loaded, path=path, data=path)


def _load_checkpoint(
    checkpoint: Path, *, data: Path | None, device: torch.device, half: bool
) -> LoadedModel:
    from fairseq.utils import split_paths

    refuse_what_is_no_file(checkpoint)
    state = read_upgraded(checkpoint)
    cfg, fine_tuned = state["cfg"], is_fine_tuned(state)
    if not fine_tuned and cfg.task._name != "masked_lm":
        raise LoadError(
            f"{checkpoint} is a checkpoint of --task {cfg.task._name}: give one of --task "
            "masked_lm or sentence_prediction"
        )
    arch = str(cfg.model._name)
    has_lm_head = any(_LM_HEAD in key for key in state["model"])
    own = cfg.task.data if fine_tuned else split_paths(cfg.task.data)[0]
    places = [checkpoint.parent, Path(own)]
    if data is not None:
        if not data.is_dir():
            raise LoadError(f"no such folder of data: {data}")
        places.insert(0, data)
    folder = _folder_of_dictionary(places, checkpoint, fine_tuned=fine_tuned)
    treatment = _treatment([*([data] if data else []), folder, *places], folder, checkpoint)
    if fine_tuned:
        run = FineTuned(checkpoint, state)
        run.check_data(folder)
        predictor = Predictor(run, folder, device=device, half=half)
        model, task = predictor.model, predictor.task
    else:
        predictor, task = None, set_up_task(checkpoint, cfg, folder)
        model = build_model(checkpoint, state, task, device=device, half=half)
    return LoadedModel(
        path=checkpoint,
        data=folder,
        arch=arch,
        module=model,
        task=task,
        treatment=treatment,
        separators=2 if manifest_options(folder).get(SEPARATORS) == 2 else 1,
        predictor=predictor,
        has_lm_head=has_lm_head,
    )


def _folder_of_dictionary(places: Sequence[Path], checkpoint: Path, *, fine_tuned: bool) -> Path:
    wanted = OF_SENTENCES if fine_tuned else NAME
    for place in places:
        if (place / wanted).is_file():
            return place
    of_pre_training = [place for place in places if fine_tuned and (place / NAME).is_file()]
    what = "the folder of the data that it was trained on"
    if of_pre_training:
        what += f", which has the names of its classes ({of_pre_training[0]} is of a pre-training)"
    raise LoadError(
        f"{checkpoint}: there is no {wanted} in {' or '.join(map(str, places))}; give {what} "
        f"{_GIVE_DATA}"
    )


def _treatment(places: Sequence[Path], folder: Path, checkpoint: Path) -> TextTreatment:
    for place in places:
        treatment = read_treatment(place)
        if treatment is None:
            continue
        other, own = dictionary_in(place), dictionary_in(folder)
        assert own is not None
        if other is not None and other != own and _symbols(other) != _symbols(own):
            raise LoadError(
                f"{other} is another dictionary than {own}: the units of {place} are not those "
                f"that {checkpoint} was trained on"
            )
        return treatment
    raise LoadError(
        f"{checkpoint}: neither its own folder nor {folder} says what text goes through before it "
        f"({RECORD}); give the data-bin of the pre-training, or a "
        f"TASK-bin made now, {_GIVE_DATA}"
    )


def _symbols(dictionary: Path) -> list[str]:
    return symbols_in(dictionary, errors="replace")  # fairseq names the damage, when it reads it
