"""A model as fairseq's criterions see one, whose predictions are made elsewhere.

fairseq's criterions run the model and compute the loss in one function.  A criterion that wants the
same loss of other passes (a doubled batch, a model with noise) calls fairseq's with this stand-in.
"""

from collections.abc import Callable
from typing import Any

Answer = Callable[..., tuple[Any, Any]]
"""Takes the arguments that the criterion has for the model; returns (prediction, extra)."""


class AnsweringModel:
    """Answers a call by a function, everything else by the model."""

    def __init__(self, model: Any, answer: Answer) -> None:
        self._model = model
        self._answer = answer

    def __call__(self, **arguments: Any) -> tuple[Any, Any]:
        return self._answer(**arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)
