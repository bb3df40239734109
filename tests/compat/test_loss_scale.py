"""`--amp` with a scaler that is switched on: what the optimizer sees, and what it skips."""

from __future__ import annotations

from types import SimpleNamespace

import fairseq.optim.amp_optimizer
import pytest
import torch
from torch import nn

SCALE = 2.0**10


class Recorder(torch.optim.SGD):
    """Plain SGD that keeps the gradients of each step."""

    def __init__(self, params: list[nn.Parameter]) -> None:
        super().__init__(params, lr=0.5)
        self.seen: list[torch.Tensor] = []

    def step(self, closure: None = None) -> None:
        self.seen += [p.grad.clone() for group in self.param_groups for p in group["params"]]
        super().step(closure)


@pytest.fixture
def amp() -> fairseq.optim.AMPOptimizer:
    """fairseq's wrapper around a recorder; the scaler works on CPU as it does on a GPU."""
    wrapped = fairseq.optim.FairseqOptimizer(SimpleNamespace())
    wrapped._optimizer = Recorder([nn.Parameter(torch.tensor([1.0, 2.0]))])
    amp = fairseq.optim.AMPOptimizer.__new__(fairseq.optim.AMPOptimizer)
    amp.fp32_optimizer, amp.min_loss_scale = wrapped, 1e-4
    amp._grad_scaler = torch.amp.GradScaler("cpu", init_scale=SCALE)
    return amp


@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
@pytest.mark.parametrize("clips", [True, False], ids=["as_the_trainer_does", "without_clipping"])
def test_gradients_are_unscaled_once(
    amp: fairseq.optim.AMPOptimizer, clip_norm: float, clips: bool
) -> None:
    (p,) = amp.optimizer.param_groups[0]["params"]
    amp.backward((p * torch.tensor([3.0, 4.0])).sum())
    torch.testing.assert_close(p.grad, SCALE * torch.tensor([3.0, 4.0]))
    if clips:
        assert float(amp.clip_grad_norm(clip_norm)) == 5.0
    amp.step()
    expected = torch.tensor([3.0, 4.0]) / (5.0 if clips and clip_norm else 1.0)
    torch.testing.assert_close(amp.optimizer.seen[0], expected)


def test_overflow_is_skipped_and_lowers_the_scale(amp: fairseq.optim.AMPOptimizer) -> None:
    (p,) = amp.optimizer.param_groups[0]["params"]
    p.grad = torch.tensor([float("inf"), 1.0])
    amp.scaler.scale(torch.zeros(1))  # the scaler wakes up with the first loss
    amp.clip_grad_norm(1.0)
    amp.step()
    assert amp.optimizer.seen == []
    assert amp.scaler.get_scale() == SCALE / 2


def test_non_finite_gradients_without_a_scale_end_the_job(amp: fairseq.optim.AMPOptimizer) -> None:
    """As on a CPU: the step would make every weight NaN, and there is no scale to lower."""
    amp._grad_scaler = torch.amp.GradScaler("cpu", enabled=False)
    (p,) = amp.optimizer.param_groups[0]["params"]
    p.grad = torch.tensor([3.0, 4.0])
    assert float(amp.clip_grad_norm(1.0)) == 5.0
    p.grad = torch.tensor([float("inf"), 1.0])
    with pytest.raises(FloatingPointError, match=r"^gradients are Nan/Inf .*--amp on a CPU"):
        amp.clip_grad_norm(1.0)
