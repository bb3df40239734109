"""`--bitfit-terms` on the model, and `--criterion bitfit`: what trains, what is logged, resume."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fairseq import metrics
from fairseq.criterions.sentence_prediction import SentencePredictionConfig
from torch import nn

from tupe_plugin.compat.trainer_parts import keep_states_of_criterions
from tupe_plugin.core.encoder_view import names_of
from tupe_plugin.core.layer_decay import parameter_depths
from tupe_plugin.criterions.bitfit import BitFitCriterion

from .test_tupe_model import HEAD, build, sentences, small

LAYERS = "encoder.sentence_encoder.layers"


def with_head(*flags: str) -> Any:
    model = small(*flags)
    model.register_classification_head(HEAD, num_classes=2)
    return model


def trained_names(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def criterion() -> BitFitCriterion:
    cfg = SentencePredictionConfig()
    return BitFitCriterion(cfg, SimpleNamespace(cfg=SimpleNamespace(num_classes=2)))


def sample() -> dict[str, Any]:
    target = torch.tensor([[0], [1]])
    return {"net_input": {"src_tokens": sentences()}, "target": target, "ntokens": 12}


# ---- the model


def test_terms_and_heads_train_whenever_the_head_comes() -> None:
    model = small("--rel-pos", "--embedding-normalize", "--bitfit-terms", "query,output")
    biases = {f"{LAYERS}.{i}.fc2.bias" for i in range(2)} | {
        f"{LAYERS}.{i}.self_attn.parametrizations.in_proj_bias.original0" for i in range(2)
    }
    assert trained_names(model) == biases
    model.register_classification_head(HEAD, num_classes=2)
    head = {f"classification_heads.{HEAD}.{name}" for name in ("dense", "out_proj")}
    head = {f"{layer}.{kind}" for layer in head for kind in ("weight", "bias")}
    assert trained_names(model) == biases | head
    model.register_classification_head(HEAD, num_classes=5)  # another in its place
    assert trained_names(model) == biases | head
    assert trained_names(with_head()) == {name for name, _ in with_head().named_parameters()}


def test_layer_decay_finds_the_depth_of_every_trained_parameter() -> None:
    model = with_head("--bitfit-terms", "query,output")
    depths = parameter_depths(model)
    levels = {n: depths[p].level for n, p in model.named_parameters() if p.requires_grad}
    assert {n: level for n, level in levels.items() if "parametrizations" in n} == {
        f"{LAYERS}.{i}.self_attn.parametrizations.in_proj_bias.original0": i + 1 for i in range(2)
    }
    assert set(levels.values()) == {1, 2, 4}


def test_a_head_of_a_checkpoint_trains_too() -> None:
    model = small("--bitfit-terms", "all", "--load-checkpoint-heads")
    model.load_state_dict(with_head().state_dict())
    assert all(p.requires_grad for p in model.classification_heads[HEAD].parameters())


def test_the_masked_lm_head_is_frozen_with_the_embedding_that_it_shares() -> None:
    model = small("--bitfit-terms", "all")
    assert not any(p.requires_grad for p in model.encoder.lm_head.parameters())
    model(sentences())[0].sum().backward()
    assert model.encoder.sentence_encoder.embed_tokens.weight.grad is None


@pytest.mark.parametrize(
    ("terms", "percent"), [("all", 0.095), ("query,intermediate", 0.042), ("query,output", 0.017)]
)
def test_share_of_a_base_model(terms: str, percent: float) -> None:
    """The paper: 0.04 % for b_q and b_m2 of BERT-base, which has 30,000 symbols like this one."""
    flags = ("--rel-pos", "--embedding-normalize", "--bitfit-terms", terms)
    with torch.device("meta"):  # shapes only
        model = build(*flags, arch="tupe_base", symbols=30_000)
    biases = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    assert 100 * biases / total < 0.1
    assert 100 * biases / total == pytest.approx(percent, abs=0.003)


# ---- the criterion


@pytest.fixture(autouse=True)
def _fresh_meters():
    metrics.reset()
    yield
    metrics.reset()


def make_trainer(model: nn.Module, made: Any = None, **loaded: Any) -> Any:
    """A trainer that loads and saves nothing of its own."""
    made = criterion() if made is None else made

    class StubTrainer:
        is_data_parallel_master = True

        def get_criterion(self) -> Any:
            return made

        def get_model(self) -> Any:
            return model

        def load_checkpoint(self, *args: Any, **named: Any) -> Any:
            return loaded.get("extra_state")

        def state_dict(self) -> Any:
            return {"extra_state": {}}

    module = SimpleNamespace(Trainer=StubTrainer, logger=logging.getLogger(__name__))
    keep_states_of_criterions(module)
    return module.Trainer()


def test_a_model_of_which_everything_trains_is_refused() -> None:
    trainer = make_trainer(with_head())
    with pytest.raises(
        ValueError, match=r"nothing is frozen; .*--bitfit-terms query,intermediate,"
    ):
        trainer.load_checkpoint("none.pt")
    with pytest.raises(ValueError, match="Linear has no encoder of a known family"):
        make_trainer(nn.Linear(3, 2)).load_checkpoint("none.pt")


def test_what_trains_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    model = with_head("--bitfit-terms", "query,output")
    total = sum(p.numel() for p in model.encoder.parameters())
    trainer = make_trainer(model)
    with caplog.at_level(logging.INFO):
        trainer.load_checkpoint("none.pt")
    (line,) = [record.message for record in caplog.records if "bitfit" in record.message]
    assert f"{2 * (15 + 15)} of {total:,} parameters train ({100 * 60 / total:.3f} %)" in line
    assert "query, output" in line
    assert line.endswith(f"head's {15 * 15 + 15 + 15 * 2 + 2}")
    caplog.clear()
    trainer.is_data_parallel_master = False
    with caplog.at_level(logging.INFO):
        trainer.load_checkpoint("none.pt")
    assert caplog.text == ""


def validated(made: BitFitCriterion, model: nn.Module) -> dict[str, float]:
    """Two batches of a validation."""
    made.eval()
    with metrics.aggregate(new_root=True) as of_the_pass, torch.no_grad():
        for _ in range(2):
            made(model.eval(), sample())
    values = of_the_pass.get_smoothed_values()
    return {name: value for name, value in values.items() if name.startswith("bias_drift")}


def move(model: nn.Module, by: float) -> None:
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            if parameter.requires_grad:
                parameter += by


def test_drift_is_measured_at_each_validation_from_the_start_of_fine_tuning() -> None:
    model = with_head("--embedding-normalize", "--bitfit-terms", "query,layer_norm")
    trainer = make_trainer(model)
    move(model, 3.0)  # what a checkpoint brings is no drift
    trainer.load_checkpoint("pretrained.pt", True)
    made = trainer.get_criterion()
    cells = {f"bias_drift_{i}_{role}" for i in range(2) for role in ("query", "layer_norm")}
    cells |= {"bias_drift_embedding_layer_norm"}
    for total in (0.25, 0.75):
        made.train()
        made(model.train(), sample())
        move(model, 0.25 if total == 0.25 else 0.5)
        drift = validated(made, model)
        assert drift.keys() == cells
        assert set(drift.values()) == {total}


def test_the_start_comes_back_with_a_checkpoint() -> None:
    model = with_head("--bitfit-terms", "query,output")
    trainer = make_trainer(model)
    trainer.load_checkpoint("pretrained.pt", True)
    move(model, 0.5)
    extra_state = trainer.state_dict()["extra_state"]
    made = make_trainer(model, extra_state=extra_state)
    made.load_checkpoint("checkpoint_last.pt", False)
    assert set(validated(made.get_criterion(), model).values()) == {0.5}
    # A new fine-tuning from the same file starts where that one ended.
    made.load_checkpoint("checkpoint_last.pt", reset_optimizer=True)
    assert set(validated(made.get_criterion(), model).values()) == {0.0}
    # So does one that goes on from a checkpoint without a start, or with that of other terms.
    for other in ({}, {"bitfit_start": {"layers.0.fc1.bias": torch.zeros(7)}}):
        made = make_trainer(model, extra_state=other)
        made.load_checkpoint("checkpoint_last.pt", False)
        assert set(validated(made.get_criterion(), model).values()) == {0.0}


def test_the_start_is_a_copy_in_float32() -> None:
    model = with_head("--bitfit-terms", "all").half()
    trainer = make_trainer(model)
    trainer.load_checkpoint("pretrained.pt", True)
    start = trainer.state_dict()["extra_state"]["bitfit_start"]
    assert start.keys() == {
        term.key for term in names_of(model.encoder.sentence_encoder.state_dict()).biases
    }
    assert {value.dtype for value in start.values()} == {torch.float32}
    before = {key: value.clone() for key, value in start.items()}
    move(model, 1.0)
    assert all(torch.equal(start[key], value) for key, value in before.items())


def test_other_criterions_and_validation_alone_are_left_in_peace() -> None:
    model = with_head("--bitfit-terms", "all")
    assert validated(criterion(), model) == {}  # fairseq-validate never calls load_checkpoint

    other = make_trainer(with_head(), nn.Identity(), extra_state={"epoch": 2})
    assert other.load_checkpoint("a.pt", True) == {"epoch": 2}
    assert other.state_dict() == {"extra_state": {}}
