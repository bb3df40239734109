"""6 updates == 3, a checkpoint, and 3 more in another trainer: bit for bit, in every precision."""

from __future__ import annotations

import copy
import functools
import itertools
import sys
from pathlib import Path
from typing import Any

import fairseq
import pytest
import torch
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.optim import amp_optimizer
from fairseq.tasks.masked_lm import MaskedLMTask
from fairseq.trainer import Trainer
from omegaconf import OmegaConf

from tests.adapters.small_batches import dictionary, masked_tokens
from tests.conftest import RunCommand
from tests.end_to_end.training_jobs import differences, load_checkpoint
from tupe_plugin.registration import register

register(fairseq)

FP16 = {"common.fp16": True, "common.fp16_scale_window": 4}  # the loss scale rises at update 4
BF16 = {"common.bf16": True}
SETTINGS = {
    "float32": {},
    "fp16": FP16,
    "fp16 not flat": {**FP16, "common.fp16_no_flatten_grads": True},
    "fp16 overflows": {**FP16, "common.fp16_init_scale": 2**12, "common.fp16_scale_tolerance": 0.3},
    "memory-efficient fp16": {**FP16, "common.memory_efficient_fp16": True},
    "bf16": BF16,
    "memory-efficient bf16": {**BF16, "common.memory_efficient_bf16": True},
    "amp": {"common.amp": True},
    "amp overflows": {"common.amp": True, "common.fp16_init_scale": 2.0**122},
    "bf16 ema": {**BF16, "ema.store_ema": True, "ema.ema_fp32": True, "ema.ema_update_freq": 2},
}
OPTIMIZERS = {
    "adam": ("--adam-eps", "1e-6"),
    "mfac": ("--mfac-num-grads", "5", "--mfac-damping", "0.01", "--mfac-momentum", "0.5"),
}
JOB = (
    *("data", "--task", "masked_lm", "--criterion", "masked_lm", "--arch", "tupe_tiny"),
    *("--rel-pos", "--encoder-layers", "1", "--encoder-embed-dim", "10", "--max-positions", "13"),
    *("--encoder-ffn-embed-dim", "6", "--encoder-attention-heads", "2", "--batch-size", "5"),
    *("--tokens-per-sample", "13"),
    *("--weight-decay", "0.01", "--clip-norm", "1", "--lr", "0.003", "--update-freq", "2"),
    *("--fp16-init-scale", "16"),
)


@functools.cache
def parsed_once(optimizer: str) -> Any:
    parser = options.get_training_parser()
    line = [*JOB, "--optimizer", optimizer, *OPTIMIZERS[optimizer]]
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, line))


def trainer(optimizer: str, settings: dict[str, object], *, seed: int = 1) -> Trainer:
    """A new one, as `fairseq-train` makes it; the model's start depends on the seed."""
    cfg = copy.deepcopy(parsed_once(optimizer))
    workers = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    cfg.distributed_training.distributed_world_size = workers
    for name, value in settings.items():
        OmegaConf.update(cfg, name, value)
    task = MaskedLMTask(cfg.task, dictionary())
    torch.manual_seed(seed)
    return Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))


def train(it: Trainer, updates: range) -> None:
    for update in updates:
        batches = [masked_tokens(), masked_tokens()]
        for batch in batches:
            batch["target"] = batch["target"].roll(update + it.data_parallel_rank, dims=0)
        it.train_step(batches)


def save(it: Trainer, path: Path) -> dict[str, Any]:
    it.consolidate_optimizer()
    it.save_checkpoint(str(path), {"train_iterator": {"epoch": 1, "iterations_in_epoch": 3}})
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    if not it.is_data_parallel_master:
        return {"optimizer_history": {"num_updates": it.get_num_updates()}}
    state = load_checkpoint(path)
    for clock in ("metrics", "previous_training_time"):
        del state["extra_state"][clock]
    history, model = state["optimizer_history"][-1], dict(state["model"])
    return {**state, "optimizer_history": history, "model": model}


@pytest.fixture(autouse=True)
def _amp_has_a_scale(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, for the case that overflows; torch's scaler works on CPU too."""
    if "amp overflows" in request.node.name:
        scaler = functools.partial(torch.amp.GradScaler, "cpu", growth_interval=4)
        monkeypatch.setattr(amp_optimizer.torch.cuda.amp, "GradScaler", scaler)


def assert_exact_resume(optimizer: str, name: str, folder: Path) -> None:
    """Called on every worker; checkpoints are written by the first, and compared there."""
    make = functools.partial(trainer, optimizer, SETTINGS[name])
    whole, first, second = make(), make(), make(seed=2)
    train(whole, range(6))

    train(first, range(3))
    middle = save(first, folder / "first.pt")
    second.load_checkpoint(str(folder / "first.pt"))
    assert list(differences(middle, save(second, folder / "second.pt"))) == []
    train(second, range(3, 6))

    ours, theirs = (save(it, folder / "last.pt") for it in (second, whole))
    assert ("overflows" in name) == (ours["optimizer_history"]["num_updates"] < 6)
    different = list(differences(ours, theirs))
    assert different == [], (optimizer, name, different[:5])


# Each way of keeping a scale or rounded weights once; of every optimizer's own state see
# tests/contracts/test_optimizers.py.
QUICK = [
    *(("adam", name) for name in ("fp16 overflows", "memory-efficient fp16", "amp overflows")),
    *(("adam", "bf16 ema"), ("mfac", "fp16")),
]


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow)
        for case in itertools.product(OPTIMIZERS, SETTINGS)
    ],
)
def test_resume(optimizer: str, name: str, tmp_path: Path) -> None:
    assert_exact_resume(optimizer, name, tmp_path)


@pytest.mark.slow
def test_resume_of_two_workers(tmp_path: Path, run_command: RunCommand) -> None:
    run_command("torchrun", "--standalone", "--nproc_per_node", 2, "-m", __name__, tmp_path)


def test_any_checkpoint_gives_its_exact_weights(tmp_path: Path) -> None:
    """Of a float32 model or an average as of stock fairseq's half-precision job, rounded."""
    train(first := trainer("adam", FP16), range(2))
    exact = save(first, tmp_path / "first.pt")["model"]
    rounded = {name: value.half().float() for name, value in exact.items()}
    assert list(differences(rounded, exact)) != []
    state = torch.load(tmp_path / "first.pt", weights_only=True)
    for weights, reset_optimizer in itertools.product((exact, rounded), (True, False)):
        torch.save({**state, "model": weights}, tmp_path / "start.pt")
        second = trainer("adam", {**FP16, "ema.store_ema": True}, seed=2)
        second.load_checkpoint(str(tmp_path / "start.pt"), reset_optimizer)
        assert list(differences(save(second, tmp_path / "second.pt")["model"], weights)) == []
        model = {name: value.float() for name, value in second.get_model().state_dict().items()}
        assert list(differences(model, rounded)) == []


if __name__ == "__main__":  # one of the two workers
    torch.distributed.init_process_group("gloo")
    for optimizer, name in itertools.product(OPTIMIZERS, ("fp16", "fp16 overflows", "bf16", "amp")):
        assert_exact_resume(optimizer, name, Path(sys.argv[1]))
    torch.distributed.destroy_process_group()
