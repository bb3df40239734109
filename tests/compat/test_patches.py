"""Each patch, at the place of its defect. Whole jobs are in tests/end_to_end/test_precision.py."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fairseq.data.iterators
import fairseq.optim.amp_optimizer
import fairseq.optim.fp16_optimizer
import fairseq.tasks.fairseq_task
import fairseq.trainer
import numpy as np
import pytest
import torch
from fairseq import options
from fairseq.data import Dictionary, TokenBlockDataset, data_utils
from fairseq.dataclass import FairseqDataclass, initialize
from fairseq.dataclass.configs import FairseqConfig
from fairseq.models import distributed_fairseq_model
from fairseq.nan_detector import NanDetector
from fairseq.tasks.masked_lm import MaskedLMTask
from fairseq.tasks.translation_from_pretrained_bart import TranslationFromPretrainedBARTTask
from omegaconf import OmegaConf
from torch import nn

import tupe_plugin
from tests.conftest import RunCommand
from tupe_plugin.compat import user_dir

on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="a defect of machines without CUDA")


def test_dataclasses_of_fairseq_have_a_hash_and_others_do_not() -> None:
    def config(module: str) -> Any:
        return dataclasses.dataclass(type("Config", (), {"__module__": module}))

    mended = config("fairseq.dataclass.configs")
    assert isinstance(hash(mended()), int)
    assert mended() == mended()
    with pytest.raises(TypeError, match="unhashable"):
        hash(config("fairseq_like.configs")())


def test_a_gradient_that_is_no_number_is_found_in_an_output_of_lists(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> dict[str, list[torch.Tensor]]:
            return {"states": [], "out": [self.linear(x)]}

    model = nn.Sequential(Encoder())
    with NanDetector(model):
        model(torch.ones(1, 3))["out"][0].backward(torch.full((1, 2), torch.nan))
    assert "NaN detected in output of 0" in caplog.text
    assert "backward" in caplog.text


def test_huffman_codes_are_read_back() -> None:
    from fairseq.data.huffman import HuffmanCodeBuilder

    builder = HuffmanCodeBuilder()
    words = ["to", "be", "or", "not", "to", "be"]
    builder.add_symbols(*words)
    coder = builder.build_code()
    assert [node.symbol for node in coder.decode(coder.encode(words))] == words


def test_a_configuration_of_a_plug_in_may_be_the_default_of_another() -> None:
    """Made with the decorator as it was before fairseq was imported."""
    dataclass = inspect.unwrap(dataclasses.dataclass)

    @dataclass
    class Part(FairseqDataclass):
        size: int = 3

    @dataclass
    class Whole(FairseqDataclass):
        part: Part = Part()

    assert Whole() == Whole()
    assert Whole().part.size == 3


def test_lengths_are_put_into_buckets() -> None:
    """`--num-batch-buckets`."""
    assert data_utils.get_buckets(np.array([2, 3, 5, 7, 11]), 2).tolist() == [5, 11]


@pytest.mark.parametrize(
    ("flags", "tpu"), [(["--bf16"], False), (["--memory-efficient-bf16"], False)]
)
def test_bf16_does_not_mean_tpu(flags: list[str], tpu: bool) -> None:
    parser = options.get_training_parser()
    arguments = ["data", "--task", "masked_lm", "--arch", "roberta_base", *flags]
    args = options.parse_args_and_arch(parser, arguments)
    assert (args.bf16, args.tpu) == (True, tpu)
    args = options.parse_args_and_arch(options.get_training_parser(), [*arguments, "--tpu"])
    assert (args.bf16, args.tpu) == (True, True)


def test_denoising_shares_its_limits_with_its_model() -> None:
    arguments = ["data", "--task", "denoising", "--arch", "transformer", "--max-source-positions"]
    args = options.parse_args_and_arch(options.get_training_parser(), [*arguments, "7"])
    assert (args.max_source_positions, args.max_target_positions) == (7, 1024)


def test_tasks_of_a_cfg_have_args_that_others_may_replace() -> None:
    class Derived(MaskedLMTask):
        def __init__(self, cfg: Any, dictionary: Any) -> None:
            super().__init__(cfg, dictionary)
            self.args = "its own"

    job = OmegaConf.create({"task": {"_name": "masked_lm", "seed": 1}, "bpe": {"_name": "bert"}})
    assert MaskedLMTask(job.task, Dictionary()).args == job.bpe
    assert Derived(job.task, Dictionary()).args == "its own"
    cfg = SimpleNamespace(langs="de,en", prepend_bos=False)
    assert TranslationFromPretrainedBARTTask(cfg, Dictionary(), Dictionary()).args is cfg


def test_help_has_the_options_of_the_chosen_parts(capsys: pytest.CaptureFixture[str]) -> None:
    own = ("--adam-betas", "--criterion", "--encoder-embed-dim")
    arguments = ["--optimizer", "adam", "--help"]
    for chosen, shown in ((["--arch", "roberta_base", "--task", "masked_lm"], 3), ([], 1)):
        with pytest.raises(SystemExit) as ended:
            options.parse_args_and_arch(options.get_training_parser(), [*chosen, *arguments])
        assert ended.value.code == 0
        text = capsys.readouterr().out
        assert sum(f"  {flag} " in text for flag in own) == shown


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (["--task", "masked_lm"], "masked_lm"),
        (["--task=sentence_prediction"], "sentence_prediction"),
        (["--task", "language_modeling"], "cross_entropy"),  # there is none of that name
        (["--task", "masked_lm", "--criterion", "cross_entropy"], "cross_entropy"),
        (["--task", "sentence_prediction", "--criterion=rdrop"], "rdrop"),
    ],
)
def test_a_task_without_a_criterion_takes_its_own(
    given: list[str], taken: str, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["data", "--arch", "tupe_tiny", *given]
    with caplog.at_level(logging.INFO):
        args = options.parse_args_and_arch(options.get_training_parser(), arguments)
    assert args.criterion == taken
    told = f"without --criterion takes --criterion {taken}" in caplog.text
    assert told == (taken != "cross_entropy" and "--criterion" not in " ".join(given))


def test_validation_keeps_the_criterion_of_the_checkpoint(caplog: pytest.LogCaptureFixture) -> None:
    arguments = ["data", "--path", "x.pt", "--task", "sentence_prediction"]
    with caplog.at_level(logging.INFO):
        args = options.parse_args_and_arch(options.get_validation_parser(), arguments)
        overrides = options.parse_args_and_arch(
            options.get_validation_parser(), arguments, suppress_defaults=True
        )
    assert args.criterion == "sentence_prediction"  # to read the command line by
    assert not hasattr(overrides, "criterion")
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("task", "model", "both"), [(None, 128, 128), (64, None, 64), (64, 64, 64), (64, 128, None)]
)
def test_one_limit_of_positions_in_hydra(
    task: int | None, model: int | None, both: int | None
) -> None:
    """The task's configuration has the default where nothing is given, the model's has nothing."""
    cfg = OmegaConf.create(dict.fromkeys(FairseqConfig.__dataclass_fields__))
    cfg.task = {"_name": "sentence_prediction", "max_positions": task or 512}
    cfg.model = {"_name": "some_model"} | ({"max_positions": model} if model else {})
    if both is None:
        with pytest.raises(
            SystemExit, match=r"error: model\.max_positions=128 and task\.max_positions=64"
        ):
            initialize.add_defaults(cfg)
        return
    initialize.add_defaults(cfg)
    assert cfg.task.max_positions == both
    assert cfg.model.get("max_positions", both) == both  # the task hands it to the model


def test_fp16_parameters_on_cpu_are_flat_and_synchronised() -> None:
    mixin = fairseq.optim.fp16_optimizer._FP16OptimizerMixin
    half = [nn.Parameter(torch.ones(2, 3).half()), nn.Parameter(torch.full((5,), 2.0).half())]
    flat = mixin.build_fp32_params(None, iter(half), flatten=True)
    assert set(flat) == {None}
    assert flat[None].tolist() == [1.0] * 6 + [2.0] * 5

    optimizer = mixin()
    optimizer.fp16_params, optimizer.fp32_params = half, flat
    optimizer._needs_sync = True
    half[0].grad = torch.full((2, 3), 7.0).half()
    optimizer._sync_fp16_grads_to_fp32()
    assert flat[None].grad.tolist() == [7.0] * 6 + [0.0] * 5
    flat[None].data.add_(1)
    optimizer._sync_fp32_params_to_fp16()
    assert half[1].tolist() == [3.0] * 5


@on_cpu
def test_the_stand_in_for_the_norm_of_an_overflow_stays_on_the_cpu() -> None:
    assert fairseq.trainer.torch.tensor(0.0).cuda().device.type == "cpu"
    with pytest.raises((AssertionError, RuntimeError)):  # torch itself is as it was
        torch.tensor(0.0).cuda()


def test_a_cpu_model_is_wrapped_without_device_ids(tmp_path: Path) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        wrapped = distributed_fairseq_model.DistributedDataParallel(
            nn.Linear(2, 3), device_ids=[0], output_device=0
        )
        assert wrapped(torch.ones(5, 2)).shape == (5, 3)
    finally:
        torch.distributed.destroy_process_group()


def test_amp_autocasts_on_the_device_of_the_model() -> None:
    seen: list[tuple[bool, torch.dtype]] = []

    def criterion(model: nn.Module, sample: torch.Tensor) -> Any:
        output = model(sample)
        seen.append((torch.is_autocast_enabled("cpu"), output.dtype))
        return output.sum(), 1, {}

    amp = fairseq.optim.amp_optimizer.AMPOptimizer.__new__(fairseq.optim.amp_optimizer.AMPOptimizer)
    amp.backward = lambda loss: loss.backward()
    plain = SimpleNamespace(backward=lambda loss: loss.backward())
    task = SimpleNamespace()
    train_step = fairseq.tasks.fairseq_task.FairseqTask.train_step
    model = nn.Linear(2, 3)
    model.set_num_updates = lambda number: None
    for optimizer in (amp, plain):
        train_step(task, torch.ones(5, 2), model, criterion, optimizer, update_num=0)
    assert seen == [(True, torch.bfloat16), (False, torch.float32)]


@on_cpu
def test_amp_has_no_loss_scale_on_cpu() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaler = fairseq.optim.amp_optimizer.torch.cuda.amp.GradScaler(init_scale=128.0)
    assert not scaler.is_enabled()
    assert scaler.get_scale() == 1.0


@pytest.mark.parametrize("break_mode", ["eos", "none", "complete", "complete_doc"])
def test_every_break_mode_gives_the_tokens_back(break_mode: str) -> None:
    sentences = [torch.arange(length) for length in (3, 5, 2, 7)]
    sizes = np.array([len(sentence) for sentence in sentences])
    blocks = TokenBlockDataset(sentences, sizes, 6, pad=1, eos=2, break_mode=break_mode)
    together = torch.cat([blocks[k] for k in range(len(blocks))])
    assert together.tolist() == torch.cat(sentences).tolist()


@pytest.mark.slow
def test_a_prefetching_thread_has_stopped_when_python_goes_down(tmp_path: Path) -> None:
    """What is registered with `atexit` first runs last: it looks for the thread."""
    script = tmp_path / "prefetching.py"
    script.write_text(
        "import atexit, itertools, threading\n"
        "def alive():\n"
        "    names = [type(thread).__name__ for thread in threading.enumerate()]\n"
        "    print('alive' if 'BackgroundConsumer' in names else 'stopped')\n"
        "atexit.register(alive)\n"
        "import tupe_plugin, fairseq.data.iterators as iterators\n"
        "class Endless:\n"
        "    def __len__(self): return 10**9\n"
        "    def __iter__(self): return itertools.count()\n"
        "batches = iterators.BufferedIterator(3, Endless())\n"
        "print(next(batches), next(batches))\n"
    )
    finished = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, timeout=120
    )
    assert finished.stdout.split() == ["0", "1", "stopped"]


@pytest.mark.slow
def test_a_resumed_configuration_reaches_every_worker(
    run_command: RunCommand, tmp_path: Path
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        "import os, torch\n"
        "import tupe_plugin\n"
        "from fairseq.distributed import utils\n"
        "from omegaconf import OmegaConf\n"
        "torch.distributed.init_process_group('gloo')\n"
        "group = torch.distributed.group.WORLD\n"
        "first = utils.get_rank(group) == 0\n"
        "state = {'cfg': OmegaConf.create({'a': [1, 2]}), 'model': {'w': torch.ones(3)}}\n"
        "got = utils.broadcast_object(state if first else None, 0, group, torch.device('cpu'))\n"
        "assert OmegaConf.to_container(got['cfg']) == {'a': [1, 2]}, got\n"
        "assert got['model']['w'].tolist() == [1, 1, 1], got\n"
        "torch.distributed.barrier()\n"  # or one ends while the other's threads still talk to it
        "torch.distributed.destroy_process_group()\n"
    )
    run_command("torchrun", "--nproc_per_node", 2, "--standalone", script, cwd=tmp_path)


def test_a_user_dir_is_located(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = str(Path(tupe_plugin.__file__).resolve().parent)
    monkeypatch.chdir(tmp_path)
    assert user_dir.locate("tupe_plugin") == plugin
    assert user_dir.locate(f"{plugin}/") == plugin
    (tmp_path / "link").symlink_to(plugin)
    assert user_dir.locate("link") == plugin
    assert user_dir.locate("no_such_folder") is None
    assert user_dir.locate("no/such/folder") is None


def test_the_link_to_somebody_elses_plug_in_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "a1b2").mkdir()
    (tmp_path / "their_plugin").symlink_to(tmp_path / "a1b2")
    assert user_dir.locate(str(tmp_path / "their_plugin")) == str(tmp_path / "their_plugin")
