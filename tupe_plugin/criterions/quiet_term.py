"""Says once that a term of the loss stays near 0: it costs time and changes nothing."""

import logging

import torch
from fairseq.distributed import utils as distributed_utils

logger = logging.getLogger(__name__)

NEAR_ZERO = 1e-3
"""Share of the loss below which a term is one that changes nothing."""
ENOUGH_STEPS = 500
"""Training steps after which it is said without waiting for a validation."""


class QuietTerm:
    """Adds up what training steps report, and looks at it once.

    Args:
        term: what is added, in words of the command line.
        advice: what raises it.
    """

    def __init__(self, term: str, advice: str) -> None:
        self._term, self._advice = term, advice
        self._added = self._loss = torch.zeros(())  # on the model's device from the first step on
        self._steps = 0
        self._looked = False

    def note(self, loss: torch.Tensor, task: torch.Tensor) -> None:
        """Take a training step's loss and what it is without the term, both summed up."""
        if self._looked:
            return
        self._loss = self._loss + loss.detach().abs()
        self._added = self._added + (loss - task).detach().abs()
        self._steps += 1
        if self._steps == ENOUGH_STEPS:
            self.look()

    def look(self) -> None:
        """Warn if the term is near 0 so far; once, if there was a step."""
        if self._looked or not self._steps:
            return
        self._looked = True
        share = (self._added / self._loss).item()
        if share < NEAR_ZERO and distributed_utils.get_global_rank() == 0:
            logger.warning(
                "%s has added %.2g %% to the loss of %d steps, so it changes next to nothing: %s",
                self._term,
                100 * share,
                self._steps,
                self._advice,
            )
