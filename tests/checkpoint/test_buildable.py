"""A configuration in a file runs nothing, and builds no more than the file has weights for."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils, criterions
from fairseq.models.roberta import RobertaModel
from fairseq.tasks.speech_to_text import SpeechToTextTask
from omegaconf import OmegaConf

from tests.checkpoint.test_read import contents
from tupe_plugin.checkpoint.buildable import largest_table
from tupe_plugin.checkpoint.errors import CheckpointError, UnusableCheckpointError
from tupe_plugin.checkpoint.read import read_checkpoint
from tupe_plugin.compat.literal_evaluation import NotAValueError, value_of
from tupe_plugin.models.tupe import TupeConfig

SMALL = {
    **{"encoder_layers": 1, "encoder_embed_dim": 4, "encoder_ffn_embed_dim": 4},
    **{"encoder_attention_heads": 2, "max_positions": 8},
}
TINY = {**asdict(TupeConfig(**SMALL)), "_name": "tupe_tiny"}


@pytest.fixture
def save(tmp_path: Path) -> Any:
    (tmp_path / "dict.txt").write_text("a 1\nb 1\n")
    task = {"_name": "masked_lm", "data": str(tmp_path), "tokens_per_sample": 8}

    def write(*, args: Any = None, weights: Any = None, **parts: Any) -> Path:
        cfg = None if args else {"model": TINY, "task": task, "criterion": {"_name": "masked_lm"}}
        if args:
            args.data = str(tmp_path)
        path = tmp_path / "checkpoint_best.pt"
        model = {"weight": torch.zeros(2)} if weights is None else weights
        torch.save(
            {**contents(), "args": args, "cfg": cfg and {**cfg, **parts}, "model": model}, path
        )
        return path

    return write


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        checkpoint_utils.load_model_ensemble_and_task([str(path)])
    line = str(refused.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    return line


def attacks(code: str) -> dict[str, dict[str, Any]]:
    lm = {"_name": "transformer_lm", "character_embeddings": True, "character_filters": code}
    fconv = {"arch": "fconv_lm", "task": "language_modeling", "criterion": "cross_entropy"}
    return {
        "wav2vec2": {"model": {"_name": "wav2vec2", "conv_feature_layers": code}},
        "wav2vec": {"model": {"_name": "wav2vec", "conv_feature_layers": code}},
        "by arch": {"model": {"arch": "wav2vec2", "conv_feature_layers": code}},
        "nested": {"model": {"wav2vec2": {"conv_feature_layers": code}}},
        "character_filters": {"model": lm},
        "ctc": {"criterion": {"_name": "ctc", "wer_args": code}},
        "speech task": {"task": {"_name": "masked_lm", "task": "audio_pretraining"}},
        "a value for a name": {"model": {"_name": ["wav2vec2"]}},
        "fconv, of old": {"args": argparse.Namespace(**fconv, decoder_layers=code)},
    }


@pytest.mark.parametrize("attack", attacks(""))
def test_no_text_of_a_file_is_run(attack: str, save: Any, tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    code = f"open({str(evidence)!r}, 'w') and [(4, 1, 1)]"
    refusal(save(**attacks(code)[attack]))
    assert not evidence.exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"encoder_layers": 1000}, "a much larger model than its weights are of"),
        ({"encoder_embed_dim": 100_000}, "a much larger model than its weights are of"),
        ({"encoder_layers": 10**7}, "asks for --encoder-layers 10000000: above 1,000,000"),
        ({"max_positions": 10**11}, "asks for --max-positions 100000000000: above 1,000,000"),
        ({"encoder": {"layers": 10**7}}, "asks for --layers 10000000: above 1,000,000"),
        ({"max_positions": 60_000, "encoder_embed_dim": "20_000"}, "--max-positions 60000 with"),
        (
            {"_name": "transformer", "max_source_positions": 60_000, "encoder_embed_dim": 20_000},
            "--max-source-positions 60000 with --encoder-embed-dim 20000",
        ),
        ({"_name": "tupe_huge"}, "is of --arch tupe_huge, which is not known"),
        ({"encoder_attention_heads": 3}, "checkpoint_best.pt: --encoder-embed-dim 4 is no multip"),
        ({"dropout": "${oc.env:HOME}"}, "cfg.model.dropout refers to other settings"),
    ],
    ids=str,
)
def test_what_is_asked_for_is_bounded(model: dict[str, Any], message: str, save: Any) -> None:
    assert message in refusal(save(model={**TINY, **model}))


@pytest.fixture
def speech(tmp_path: Path) -> Any:
    """Writes a checkpoint of a speech translation that began with weights of other files."""
    (tmp_path / "dict.txt").write_text("a 1\nb 1\n")
    (tmp_path / "config.yaml").write_text("input_feat_per_channel: 4\n")

    def write(**settings: Any) -> Path:
        args = argparse.Namespace(
            **{"arch": "s2t_transformer_s", "task": "speech_to_text", "data": str(tmp_path)},
            **{"criterion": "cross_entropy", "config_yaml": "config.yaml", "seed": 1},
            **{"encoder_layers": 1, "decoder_layers": 1, "encoder_embed_dim": 4},
            **{"encoder_attention_heads": 2, "decoder_attention_heads": 2, "conv_channels": 4},
            **{"encoder_ffn_embed_dim": 4, "max_source_positions": 8, "max_target_positions": 8},
        )
        task = SpeechToTextTask.setup_task(args)
        model = task.build_model(args).state_dict()
        vars(args).update(speaker_to_id=None, **settings)
        path = tmp_path / "checkpoint_best.pt"
        torch.save({**contents(), "args": args, "cfg": None, "model": model}, path)
        return path

    return write


def test_the_file_of_the_first_weights_is_not_read_again(speech: Any) -> None:
    """What became of them is in the checkpoint."""
    path = speech(load_pretrained_encoder_from="/dev/null")
    (model,), cfg, _ = checkpoint_utils.load_model_ensemble_and_task([str(path)])
    assert cfg.model.load_pretrained_encoder_from is None
    name = "encoder.subsample.conv_layers.0.weight"
    assert torch.equal(model.state_dict()[name], read_checkpoint(path)["model"][name])


def test_a_file_elsewhere_is_not_taken_for_one_of_the_data(speech: Any, tmp_path: Path) -> None:
    elsewhere = tmp_path / "config.yaml"
    line = refusal(speech(config_yaml=str(elsewhere)))
    assert line.endswith(f"--config-yaml {elsewhere}, which is no file of the folder of data")


def test_a_criterion_writes_no_file_because_a_checkpoint_says_so(save: Any, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("mine")
    criterion = {"_name": "sentence_ranking", "save_predictions": str(kept)}
    assert f"asks for --save-predictions {kept}, and no other" in refusal(save(criterion=criterion))
    assert kept.read_text() == "mine"


def test_a_small_file_of_a_large_configuration_is_refused(save: Any) -> None:
    lists: list[Any] = []
    for _ in range(100):
        lists = [lists, lists]
    assert "no configuration of fairseq" in refusal(save(model={**TINY, "lists": lists}))
    itself: dict[str, Any] = {}
    itself["again"] = itself
    assert "no configuration of fairseq" in refusal(save(model={**TINY, "itself": itself}))


def test_numbers_that_the_file_does_not_hold_are_refused(save: Any) -> None:
    path = save(weights={"weight": torch.zeros(1).expand(10**9)})
    assert "would have 1,000,000,000 numbers, of which the file holds 1" in refusal(path)


def test_a_model_inside_of_another_has_its_own_sizes() -> None:
    """A fine-tuned wav2vec has `encoder_embed_dim` twice; that of the outer one is not used."""
    inside = {"model": {"max_positions": 100_000, "encoder_embed_dim": 32}}
    model = {"_name": "wav2vec_ctc", "encoder_embed_dim": 768, "w2v_args": inside}
    assert largest_table({"model": model, "task": {"max_target_positions": 7}}) == (
        3_200_000,
        "--max-positions 100000 with --encoder-embed-dim 32",
    )


def test_a_plug_in_that_was_not_imported_is_named(save: Any, monkeypatch) -> None:
    """As after `from fairseq.models.roberta import RobertaModel` alone."""
    from fairseq.models import ARCH_MODEL_REGISTRY

    path = save()
    monkeypatch.delitem(ARCH_MODEL_REGISTRY, "tupe_tiny")
    with pytest.raises(UnusableCheckpointError, match="needs `import tupe_plugin` first"):
        RobertaModel.from_pretrained(str(path.parent), path.name)


def test_a_criterion_that_is_not_known_is_named() -> None:
    for name in ("theirs", {}, None):
        with pytest.raises(UnusableCheckpointError, match="is not known: load the plug-in"):
            criterions.build_criterion(OmegaConf.create({"_name": name}), None)


@pytest.mark.parametrize(
    "text",
    [
        "(0.9, 0.999)",
        "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)]",
        "1e-3",
        "-1",
        "2 / 4",
        "True",
    ],
)
def test_values_are_as_by_python(text: str) -> None:
    assert value_of(text) == eval(text)


@pytest.mark.parametrize(
    "text", ["print(1)", "[0] * 10**9", "[0] * 99999", "().__class__", "x", "(" * 9999, "[1] - [2]"]
)
def test_others_are_no_values(text: str) -> None:
    with pytest.raises(NotAValueError, match="no plain value"):
        value_of(text)
