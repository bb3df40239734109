"""Checkpoints that fairseq's speech and translation jobs write are read as plain data."""

from __future__ import annotations

import argparse
import enum
import os
from pathlib import Path
from typing import Any

import fairseq.utils
import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils, tasks
from fairseq.data import Dictionary
from fairseq.data.multilingual.multilingual_utils import EncoderLangtok
from fairseq.dataclass.configs import CommonConfig, FairseqConfig
from fairseq.dataclass.initialize import add_defaults
from omegaconf import OmegaConf

from tests.checkpoint.test_read import OLD_FORMAT, contents
from tupe_plugin.checkpoint.errors import UnsafeCheckpointError, UnusableCheckpointError
from tupe_plugin.checkpoint.read import load, read_checkpoint

CONVOLUTIONS = "[(4, 10, 5)] + [(4, 3, 2)] * 2"  # as text, as in every published file
UNITS = {"ltr": ["a", "b", "|"], "km": ["0", "1", "2"]}
SPEECH = {
    **{"encoder_layers": 1, "encoder_embed_dim": 8, "encoder_ffn_embed_dim": 8},
    **{"encoder_attention_heads": 2, "conv_pos": 4, "conv_pos_groups": 2, "final_dim": 4},
    "conv_feature_layers": CONVOLUTIONS,
}


def parts_of(family: str, folder: Path) -> dict[str, dict[str, Any]]:
    """The model and the task of a job; the folder holds what its `DATA` would."""
    data = {"data": str(folder)}
    units = {"labels": ["km"], "label_dir": str(folder), "label_rate": 50.0}
    tuned = {"w2v_path": str(folder / f"{family.removesuffix('_ctc')}.pt"), **data}
    return {
        "wav2vec": (
            {"conv_feature_layers": CONVOLUTIONS, "conv_aggregator_layers": "[(4, 2, 1)] * 2"},
            {"_name": "audio_pretraining", **data},
        ),
        "wav2vec2": (
            {**SPEECH, "quantize_targets": True, "latent_vars": 4, "max_positions": 100},
            {"_name": "audio_pretraining", **data},
        ),
        "hubert": (
            {**SPEECH, "label_rate": 50.0},
            {"_name": "hubert_pretraining", **data, **units},
        ),
    }.get(family, (tuned, {"_name": "audio_finetuning", "labels": "ltr", **data}))


def write(family: str, folder: Path) -> Path:
    """As `fairseq-train` would, with every number that numpy computes left as it is."""
    model, task = parts_of(family, folder)
    registered = {"wav2vec2_ctc": "wav2vec_ctc"}.get(family, family)
    criterion = {"_name": "wav2vec", "infonce": True}
    defaults = OmegaConf.to_container(OmegaConf.structured(FairseqConfig()), enum_to_str=True)
    own = {"model": {"_name": registered, **model}, "task": task, "criterion": criterion}
    cfg = OmegaConf.create({**defaults, **own})
    add_defaults(cfg)
    job = tasks.setup_task(cfg.task)
    built = job.build_model(cfg.model)
    path = folder / f"{family}.pt"
    state = {
        **contents(),
        "args": None,
        "cfg": OmegaConf.to_container(cfg, resolve=True, enum_to_str=True),
        "model": built.state_dict(),
        "task_state": job.state_dict(),
        "extra_state": {"epoch": 1, "val_loss": np.float64(1.5), "best": np.float32(0.25)},
    }
    checkpoint_utils.torch_persistent_save(state, str(path))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    for name, units in UNITS.items():
        (folder / f"dict.{name}.txt").write_text("".join(f"{unit} 1\n" for unit in units))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("family", ["wav2vec", "wav2vec2", "wav2vec2_ctc", "hubert", "hubert_ctc"])
def test_speech_models_are_built_from_their_files(family: str, folder: Path) -> None:
    path = write(family, folder)
    state = read_checkpoint(path)
    assert (state["extra_state"]["best"], type(state["extra_state"]["val_loss"])) == (0.25, float)
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(path)])
    assert type(model).__module__.startswith("fairseq.models")
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, state["model"][name]), name
    if family != "wav2vec" and family != "wav2vec2":
        units = task.dictionaries[0] if family == "hubert" else task.target_dictionary
        assert units.symbols[units.nspecial :] == UNITS["km" if family == "hubert" else "ltr"]


class Unknown(enum.Enum):
    ONE = 1


class Calls:
    """Its pickle calls a function of fairseq."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("options", [{}, OLD_FORMAT], ids=["zip", "old"])
def test_objects_are_read_as_plain_data(tmp_path: Path, options: dict[str, bool]) -> None:
    """The whole configuration as omegaconf's, which is how fairseq 0.10 wrote it."""
    defaults = OmegaConf.to_container(OmegaConf.structured(FairseqConfig()), enum_to_str=True)
    cfg = OmegaConf.create(defaults)
    cfg.model = {"dropout": 0.5, "attention_dropout": "${model.dropout}", "sizes": [3, 5]}
    cfg.task = {"_name": "masked_lm", "data": "???"}
    shared = OmegaConf.create([1, None])
    state = {
        **contents(),
        "args": argparse.Namespace(style=EncoderLangtok.src, sizes=shared, common=CommonConfig()),
        "cfg": cfg,
        "extra_state": {
            "best": np.float64(0.5),
            "epoch": np.int64(3),
            "val_loss": np.float32(np.inf),
            "train_iterator": {"epoch": 1, "shuffle": np.bool_(True)},
        },
        "again": shared,
        "counts": np.arange(6).reshape(2, 3).T,
    }
    path = tmp_path / "checkpoint.pt"
    torch.save(state, path, **options)
    found = read_checkpoint(path)
    assert found["cfg"] == OmegaConf.to_container(cfg, resolve=True)
    assert found["cfg"]["model"] == {"dropout": 0.5, "attention_dropout": 0.5, "sizes": [3, 5]}
    assert found["args"].style == "src"
    assert found["args"].common["log_interval"] == 100
    assert found["args"].sizes is found["again"] == [1, None]
    assert np.array_equal(found["counts"], state["counts"])
    assert found["extra_state"] == {
        **{"best": 0.5, "epoch": 3, "val_loss": np.inf},
        "train_iterator": {"epoch": 1, "shuffle": True},
    }
    assert [type(value) for value in found["extra_state"].values()] == [float, int, float, dict]


def test_a_dictionary_is_one(tmp_path: Path) -> None:
    dictionary = Dictionary()
    dictionary.add_symbol("one")
    torch.save({**contents(), "task_state": {"dictionaries": [dictionary]}}, tmp_path / "a.pt")
    (found,) = read_checkpoint(tmp_path / "a.pt")["task_state"]["dictionaries"]
    assert type(found) is Dictionary
    assert found == dictionary


@pytest.mark.parametrize(
    ("value", "refused"),
    [
        (Unknown.ONE, UnsafeCheckpointError),  # of nobody knows what
        (Calls(fairseq.utils.import_user_module, "x"), UnsafeCheckpointError),
        (Calls(os.system, "false"), UnsafeCheckpointError),
        (Calls(FairseqConfig, 1, 2), UnusableCheckpointError),  # a record of what means nothing
        (np.array(["text"]), UnusableCheckpointError),
        (np.array([os.system]), UnsafeCheckpointError),
    ],
    ids=["enumeration", "function of fairseq", "program", "class of fairseq", "array", "objects"],
)
def test_no_function_is_called(value: Any, refused: type, tmp_path: Path) -> None:
    torch.save({**contents(), "cfg": OmegaConf.create({"x": 1}), "y": value}, tmp_path / "a.pt")
    with pytest.raises(refused):
        load(tmp_path / "a.pt")


def test_settings_that_refer_in_a_circle_are_refused(tmp_path: Path) -> None:
    cfg = OmegaConf.create({"model": {"a": "${model.b}", "b": "${model.a}"}})
    torch.save({**contents(), "cfg": cfg}, tmp_path / "a.pt")
    with pytest.raises(UnusableCheckpointError, match="refer to each other in a circle"):
        load(tmp_path / "a.pt")
