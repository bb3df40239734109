"""A damaged window is refused before a parameter moves."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from tupe_plugin.core.mfac import MFAC

NAN = float("nan")


def optimizer(dtype: torch.dtype = torch.float32) -> MFAC:
    param = nn.Parameter(torch.arange(5.0))
    made = MFAC([param], num_grads=3, momentum=0.5, window_dtype=dtype)
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
    ],
    ids=str,
)
def test_damaged_windows(name: str, value: Any) -> None:
    state = copy.deepcopy(optimizer().state_dict())
    change(state["fisher_window"], name, value)
    with pytest.raises(ValueError, match="saved window of M-FAC cannot be used: "):
        optimizer().load_state_dict(state)
