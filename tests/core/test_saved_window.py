"""A damaged window is refused before a parameter moves."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from tupe_plugin.core.mfac import MFAC

NAN = float("nan")


def optimizer(density: float = 1.0) -> MFAC:
    param = nn.Parameter(torch.arange(5.0))
    made = MFAC([param], num_grads=3, momentum=0.5, density=density)
    for step in range(2):
        param.grad = torch.full((5,), 1.0 + step)
        made.step()
    return made


def change(state: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, float) and isinstance(state[name], torch.Tensor):
        state[name].view(-1)[0] = value
    else:
        state[name] = value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, NAN) for name in ("scales", "gram", "momentum_buffer", "damping")),
        *(("rows", value) for value in ([torch.full((2, 5), NAN)], [torch.zeros(1, 5)], 3)),
        *(("rows", value) for value in ([torch.zeros(2, 7)], [torch.zeros(2, 5).half()], [None])),
        *(
            (name, value)
            for name in ("dim", "num_grads", "num_pushed")
            for value in (-1, None, "x")
        ),
        *(("dtype", "int64"), ("gram", torch.zeros(2, 2)), ("num_skipped", 0.5)),
        ("step_error", "x"),
    ],
    ids=str,
)
def test_damaged_windows(name: str, value: Any) -> None:
    state = copy.deepcopy(optimizer().state_dict())
    change(state["fisher_window"], name, value)
    with pytest.raises(ValueError, match="saved window of M-FAC cannot be used: "):
        optimizer().load_state_dict(state)


def int16(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.int16)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("feedback", value) for value in (NAN, None, torch.zeros(3))),
        *(("density", value) for value in (NAN, 0.0, 0.9, 2, None)),
        *(("block_columns", value) for value in (0, 2, 2**16, None, True)),
        *(("rows", [torch.zeros(2, width)]) for width in (2, 5)),
        *(("indices", value) for value in (3, [None], [int16([0, 1, 2])], [int16(*[[0, 1]] * 2)])),
        *(("indices", [torch.tensor([[0, 1, 2]] * 2, dtype=dtype)]) for dtype in (torch.int32,)),
        *(("indices", [int16([0, 1, 2], row)]) for row in ([0, 1, 5], [-1, 0, 1], [1, 1, 2])),
    ],
    ids=str,
)
def test_damaged_compressed_windows(name: str, value: Any) -> None:
    """3 of 5 numbers are kept."""
    state = copy.deepcopy(optimizer(0.6).state_dict())
    optimizer(0.6).load_state_dict(state)
    change(state["fisher_window"], name, value)
    with pytest.raises(ValueError, match="saved window of M-FAC cannot be used: "):
        optimizer(0.6).load_state_dict(state)
