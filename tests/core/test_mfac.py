"""The optimizer: equal to the dense reference. See also `tests/contracts/test_optimizers.py`."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.references import mfac as reference
from tupe_plugin.core import window_settings
from tupe_plugin.core.fisher_window import FisherWindow
from tupe_plugin.core.mfac import MFAC

SETTINGS = {"lr": 0.05, "num_grads": 5, "damping": 1e-3}


def parameters(*, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(3, 5), (7,), (2, 3, 1)]
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in shapes]


def gradients(params: list[nn.Parameter], steps: int, *, seed: int = 1) -> list[list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in params]
        for _ in range(steps)
    ]


def train(optimizer: torch.optim.Optimizer, steps: list[list[Tensor]]) -> None:
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for step in steps:
        for p, g in zip(params, step, strict=True):
            p.grad = g.clone()
        optimizer.step()


def assert_equal(actual: list[Any], expected: list[Any], tolerance: float = 0.0) -> None:
    for a, b in zip(actual, expected, strict=True):
        if tolerance:
            assert (a.detach() - b.detach()).norm() <= tolerance * b.detach().norm()
        else:
            assert torch.equal(a, b)


def saved_and_loaded(state: dict[str, Any]) -> dict[str, Any]:
    """Through a file, read without trust in it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("density", [1.0, 0.3])
def test_equals_dense_inverse(momentum: float, weight_decay: float, density: float) -> None:
    """Compressed, the 8 largest entries of all 28 enter: there is one block."""
    params = parameters()
    steps = gradients(params, 12)
    options = {"momentum": momentum, "weight_decay": weight_decay, **SETTINGS, "density": density}
    expected = reference.train([p.detach() for p in params], steps, **options)
    optimizer = MFAC(params, **options)
    for step, after in zip(steps, expected, strict=True):
        train(optimizer, [step])
        assert_equal(params, after, tolerance=1e-10)


def test_decoupled_weight_decay_stays_out_of_the_window() -> None:
    plain, decayed = parameters(), parameters()
    steps = gradients(plain, 1)
    before = [p.detach().clone() for p in plain]
    train(MFAC(plain, **SETTINGS), steps)
    train(MFAC(decayed, decoupled_weight_decay=0.2, **SETTINGS), steps)
    expected = [p - SETTINGS["lr"] * 0.2 * b for p, b in zip(plain, before, strict=True)]
    assert_equal(decayed, expected, tolerance=1e-12)


def test_maximize_is_minimizing_the_negative() -> None:
    up, down = parameters(), parameters()
    steps = gradients(up, 6)
    train(MFAC(up, maximize=True, **SETTINGS), steps)
    train(MFAC(down, **SETTINGS), [[-g for g in step] for step in steps])
    assert_equal(up, down)


def test_groups_share_the_window_and_have_their_own_rates() -> None:
    one, two = parameters(), parameters()
    steps = gradients(one, 1)
    start = [p.detach().clone() for p in one]
    train(MFAC(one, **SETTINGS), steps)
    groups = [
        {"params": two[:1], "lr": 0.5 * SETTINGS["lr"]},
        {"params": two[1:2]},
        {"params": two[2:], "lr": 3.0 * SETTINGS["lr"]},
    ]
    train(MFAC(groups, **SETTINGS), steps)
    for p, q, s, factor in zip(one, two, start, (0.5, 1.0, 3.0), strict=True):
        torch.testing.assert_close(q - s, factor * (p - s), rtol=1e-10, atol=1e-14)


def test_momentum_and_weight_decay_of_a_group_are_its_own() -> None:
    params = parameters()
    steps = gradients(params, 7)
    optimizer = MFAC(
        [{"params": params[:2], "momentum": 0.5, "weight_decay": 0.3}, {"params": params[2:]}],
        **SETTINGS,
    )
    train(optimizer, steps)
    expected, window = [p.detach() for p in parameters()], []
    velocity = torch.zeros(22, dtype=torch.float64)
    for step in steps:
        decayed = [g + d * p for g, p, d in zip(step, expected, (0.3, 0.3, 0), strict=True)]
        window = [*window, torch.cat([g.reshape(-1) for g in decayed])][-5:]
        u = reference.dense_inverse_product(window, window[-1], num_grads=5, damping=1e-3)
        velocity = 0.5 * velocity + 0.5 * u[:22]
        pieces = torch.cat([velocity, u[22:]]).split([15, 7, 6])
        expected = [p - 0.05 * v.view_as(p) for p, v in zip(expected, pieces, strict=True)]
    assert_equal(params, expected, tolerance=1e-10)


def test_missing_gradient_is_zeros_in_the_window_and_the_parameter_stays() -> None:
    missing, zeros = parameters(), parameters()
    optimizers = MFAC(missing, **SETTINGS), MFAC(zeros, **SETTINGS)
    steps = gradients(missing, 4)
    for optimizer in optimizers:
        train(optimizer, steps[:2])
    before = missing[1].detach().clone()
    for p, q, g in zip(missing, zeros, steps[2], strict=True):
        p.grad, q.grad = g.clone(), g.clone()
    missing[1].grad, zeros[1].grad = None, torch.zeros_like(zeros[1])
    for optimizer in optimizers:
        optimizer.step()
    assert torch.equal(missing[1], before)
    assert_equal(missing[::2], zeros[::2])
    for optimizer in optimizers:
        train(optimizer, steps[3:])
    assert_equal(missing[::2], zeros[::2])


def test_frozen_parameters_take_no_room() -> None:
    params = parameters()
    params[0].requires_grad_(False)
    optimizer = MFAC(params, **SETTINGS)
    for p, g in zip(params[1:], gradients(params, 1)[0][1:], strict=True):
        p.grad = g
    optimizer.step()
    assert optimizer.window is not None
    assert optimizer.window.rows.values.shape == (5, 13)
    params[0].requires_grad_(True)
    params[0].grad = torch.ones_like(params[0])
    with pytest.raises(RuntimeError, match="did not require gradients at the first step"):
        optimizer.step()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_gradient_that_is_not_finite_leaves_everything(
    bad: float, caplog: pytest.LogCaptureFixture
) -> None:
    params = parameters()
    optimizer = MFAC(params, momentum=0.9, **SETTINGS)
    steps = gradients(params, 4)
    train(optimizer, steps[:3])
    before = copy.deepcopy(optimizer.state_dict()), [p.detach().clone() for p in params]
    steps[3][1][2] = bad
    train(optimizer, steps[3:])
    assert_equal(params, before[1])
    assert optimizer.num_skipped == 1
    assert "step left out (1 so far)" in caplog.text
    state, saved = optimizer.state_dict()["fisher_window"], before[0]["fisher_window"]
    assert state["num_pushed"] == 3
    for name in ("gram", "inverse", "scales", "momentum_buffer"):
        assert torch.equal(state[name], saved[name])
    assert_equal(state["rows"], saved["rows"])


def test_the_error_of_some_steps_is_measured_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At 1, 2, 4, ..., and each 64th; a run that goes on knows the last."""
    measured = []

    def newest_error(window: FisherWindow, _: Tensor) -> float:
        measured.append(window.num_pushed)
        return 0.25

    params, plain = parameters(), parameters()
    steps = gradients(params, 130)
    train(MFAC(plain, **SETTINGS), steps)
    monkeypatch.setattr(FisherWindow, "newest_error", newest_error)
    optimizer = MFAC(params, **SETTINGS)
    assert optimizer.step_error is None
    train(optimizer, steps[:99])
    optimizer.step_error = 0.5
    optimizer.load_state_dict(saved_and_loaded(optimizer.state_dict()))
    assert optimizer.step_error == 0.5
    train(optimizer, steps[99:])
    assert measured == [1, 2, 4, 8, 16, 32, 64, 128]
    assert optimizer.step_error == 0.25
    assert_equal(params, plain)


def test_state_without_window_says_what_that_means(caplog: pytest.LogCaptureFixture) -> None:
    params = parameters()
    optimizer = MFAC(params, save_window=False, **SETTINGS)
    train(optimizer, gradients(params, 3))
    state = saved_and_loaded(optimizer.state_dict())
    size = sum(v.numel() for v in state["fisher_window"].values() if isinstance(v, Tensor))
    assert size == 0
    optimizer.load_state_dict(state)
    assert "begins empty" in caplog.text
    assert optimizer.window is not None
    assert optimizer.window.num_filled == 0


def test_state_of_another_optimizer_is_refused() -> None:
    adam = torch.optim.Adam(parameters())
    with pytest.raises(ValueError, match="no 'fisher_window'"):
        MFAC(parameters(), **SETTINGS).load_state_dict(adam.state_dict())


def test_half_precision_parameters_are_computed_in_float32() -> None:
    half, single = parameters(dtype=torch.bfloat16), parameters(dtype=torch.bfloat16)
    single = [nn.Parameter(p.detach().float()) for p in single]
    steps = gradients(half, 1)
    optimizer = MFAC(half, **SETTINGS)
    train(optimizer, steps)
    assert optimizer.window is not None
    assert optimizer.window.rows.values.dtype is torch.float32
    train(MFAC(single, **SETTINGS), [[g.float() for g in step] for step in steps])
    assert_equal(half, [p.detach().bfloat16() for p in single])


def test_group_after_the_first_step_is_refused() -> None:
    params = parameters()
    optimizer = MFAC(params[:2], **SETTINGS)
    optimizer.add_param_group({"params": params[2:], "lr": 0.1})
    train(optimizer, gradients(params, 1))
    with pytest.raises(RuntimeError, match="after the first step"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(3))]})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "lr=-1.0"),
        ({"lr": float("inf")}, "lr=inf"),
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1"),
        ({"weight_decay": float("inf")}, "weight_decay=inf"),
        ({"decoupled_weight_decay": -0.1}, "decoupled_weight_decay=-0.1"),
        ({"density": 0.0}, "density=0.0"),
        ({"density": 1.5}, "density=1.5"),
        ({"density": float("nan")}, "density=nan"),
        ({"window_device": "abacus"}, r"'abacus' \(--mfac-device\) cannot be used here"),
        ({"window_device": "meta"}, "'meta'"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MFAC(parameters(), **{**SETTINGS, **settings})


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(ValueError, match="no parameter requires a gradient"):
        MFAC([p.requires_grad_(False) for p in parameters()], **SETTINGS)


def test_window_that_does_not_fit_is_refused_before_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(window_settings, "available_bytes", lambda device: 10_000_000)
    MFAC(parameters(), num_grads=500)
    with pytest.raises(MemoryError) as caught:
        MFAC(parameters(dtype=torch.float32), num_grads=100_000, window_dtype=torch.bfloat16)
    text = str(caught.value)
    # 28 parameters x 2 bytes, and three float64 matrices of m x m.
    assert f"{100_000 * 28 * 2 + 3 * 8 * 100_000**2:,} bytes" in text
    remedies = ("density", "num-grads", "dtype", "device cpu")
    for remedy in (*(f"--mfac-{name}" for name in remedies), "BitFit", "workers"):
        assert remedy in text


def test_a_compressed_window_fits_where_a_whole_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """m k (4 + 2), 4 d, where the entries' blocks begin, and the m x m system."""
    num_grads, dim, kept = 50, 100_000, 24 * 41 + 17
    needed = num_grads * kept * 6 + 4 * dim + 4 * kept + 3 * 8 * num_grads**2
    param = nn.Parameter(torch.zeros(dim))
    monkeypatch.setattr(window_settings, "available_bytes", lambda device: needed)
    optimizer = MFAC([param], num_grads=num_grads, density=0.01)
    param.grad = torch.ones(dim)
    optimizer.step()
    rows = optimizer.window.rows  # type: ignore[union-attr]
    assert rows.values.shape == rows.indices.shape == (num_grads, kept)
    monkeypatch.setattr(window_settings, "available_bytes", lambda device: needed - 1)
    with pytest.raises(MemoryError, match=f"at density 0.01 takes .*{needed:,} bytes"):
        MFAC([param], num_grads=num_grads, density=0.01)


def test_real_machine_has_less_than_a_petabyte() -> None:
    with pytest.raises(MemoryError, match="are available"):
        MFAC([nn.Parameter(torch.zeros(1000))], num_grads=10**12)


@pytest.mark.gpu
@pytest.mark.parametrize("window_dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("window_device", ["cuda", "cpu"])
def test_gpu_equals_cpu(window_dtype: torch.dtype, window_device: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    options = {"momentum": 0.9, "window_dtype": window_dtype, **SETTINGS}
    on_cpu = parameters(dtype=torch.float32)
    steps = gradients(on_cpu, 12)
    on_gpu = [nn.Parameter(p.detach().cuda()) for p in on_cpu]
    train(MFAC(on_cpu, **options), steps)
    optimizer = MFAC(on_gpu, window_device=window_device, **options)
    train(optimizer, [[g.cuda() for g in step] for step in steps])
    assert optimizer.window is not None
    assert optimizer.window.rows.values.device.type == window_device
    assert_equal([p.cpu() for p in on_gpu], on_cpu, tolerance=1e-5)
