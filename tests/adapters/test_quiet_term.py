"""A strategy that changes next to nothing is named once, with the option that raises it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from tests.adapters import small_batches as small


def adversarial(**given: Any) -> Any:
    return small.criterion("adversarial", **{f"adv_{k}": value for k, value in given.items()})


def rdrop(alpha: float) -> Any:
    return small.criterion("rdrop", rdrop_alpha=alpha)


@pytest.mark.parametrize(
    ("criterion", "said"),
    [
        (adversarial(epsilon=1e-6), "--adv-method attention with --adv-epsilon 1e-06 has added"),
        (adversarial(epsilon=1e-6), "raise --adv-epsilon or --adv-weight"),
        (
            adversarial(method="smart", epsilon=1e-7),
            "raise --adv-epsilon or --adv-step-size or --adv-weight",
        ),
        (adversarial(method="fgm", epsilon=1e-7), "to the loss of 2 steps, so it changes next to"),
        (rdrop(1e-6), "raise --rdrop-alpha, or dropout"),
        (adversarial(epsilon=5.0), None),
        (adversarial(method="fgm", epsilon=5.0), None),
        (adversarial(method="freelb"), None),  # it has no pass without noise to compare with
        (adversarial(epsilon=0.0), None),  # plain training, and meant to be
        (rdrop(1.0), None),
        (rdrop(0.0), None),
    ],
)
def test_a_term_that_stays_near_zero_is_said_once(
    criterion: Any, said: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    model = small.model()

    def validate() -> None:
        with torch.no_grad():
            criterion.eval()(model, small.sentences())

    with caplog.at_level(logging.WARNING):
        validate()  # before the first step there is nothing to say
        assert not caplog.records
        for _ in range(2):
            criterion.train()(model, small.sentences())
        validate()
        validate()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == (said is not None)
    assert said is None or said in messages[0]
