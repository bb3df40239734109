"""Several passes that draw the same random numbers: the same dropout masks in each.

    state S_0 --first pass--> S_1;   every other pass begins at S_0;   afterwards the state is S_1

So the stream goes on as if there had been one pass.  Random numbers beside it (initial noise) come
from a generator of their own, which depends on S_0 and leaves it as it is.

Source: FreeLB (arXiv 1909.11764), section 3.3, for the reason: the ascent is to climb the loss of
one network, not that of another one at each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class ReplayedRandomness:
    """The default generators of the CPU and of ``device``, as they stand when this is made."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start = self._states()
        self._end: list[Tensor] | None = None

    @contextmanager
    def replay(self) -> Iterator[None]:
        """Within it the random numbers are those of the first time."""
        self._set(self._start)
        yield
        if self._end is None:
            self._end = self._states()
        self._set(self._end)

    def separate_generator(self) -> torch.Generator:
        """A stream of its own on ``device``; the same one each time."""
        now = self._states()
        self._set(self._start)
        seed = int(torch.randint(2**63 - 1, ()))
        self._set(now)
        return torch.Generator(self._device).manual_seed(seed)

    def _states(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._device))
        return states

    def _set(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(states[1], self._device)
