"""``--criterion bitfit``: fine-tuning of bias terms, with an eye on how far each of them moves.

Which terms train is the model's business (``--bitfit-terms``), so any criterion will do for
training; this one insists on it and logs, in each validation, the drift of ``core/bitfit.py``.
The biases at the start of fine-tuning go into every checkpoint, in fairseq's ``extra_state``, and
come back with it (``compat/trainer_parts.py``).
"""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.sentence_prediction import SentencePredictionConfig
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel

from ..core.bitfit import (
    ALL,
    PUBLISHED,
    mean_drift,
    metric_name,
    trained_share,
    trained_terms,
)
from ..core.encoder_view import EncoderView, view_of
from .whole_set_criterion import WholeSetCriterion

logger = logging.getLogger(__name__)

_START = "bitfit_start"  # in a checkpoint's extra_state


@register_criterion("bitfit", dataclass=SentencePredictionConfig)
class BitFitCriterion(WholeSetCriterion):
    """fairseq's sentence-prediction loss over a model of which only bias terms train."""

    def __init__(self, cfg: SentencePredictionConfig, task: Any):
        super().__init__(cfg, task)
        # What the encoder's state dict held before the first update; nothing in fairseq-validate.
        self.start: dict[str, torch.Tensor] = {}
        self._drift: dict[tuple[str, str], float] | None = None

    def forward(
        self, model: BaseFairseqModel, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        if self.training:
            self._drift = None  # the update that follows makes it another
        elif self.start:
            self._log_drift(model)
        return super().forward(model, sample, reduce)

    def kept_state(self) -> dict[str, Any]:
        """For a checkpoint's ``extra_state``."""
        return {_START: self.start}

    def begin(self, model: BaseFairseqModel, state: Mapping[str, Any] | None) -> str:
        """Take the biases as they are for the start, or those of the run that goes on.

        Returns:
            what trains, in one line.

        Raises:
            ValueError: everything trains, or the encoder is of an unknown family.
        """
        view = view_of(model)
        check_frozen(view)
        now, terms = view.encoder.state_dict(), trained_terms(view)
        keys = sorted({term.key for term in terms})
        saved = None if state is None else state.get(_START, {})
        known = saved is not None and saved.keys() >= set(keys)
        if saved is not None and not known:
            logger.warning(
                "the checkpoint does not say where these bias terms started: their drift is "
                "measured from here"
            )
        self._drift = None
        self.start = {
            key: saved[key] if saved is not None and known else now[key].float().cpu().clone()
            for key in keys
        }
        return describe_training(view)

    def _log_drift(self, model: BaseFairseqModel) -> None:
        if self._drift is None:
            view = view_of(model)
            self._drift = mean_drift(trained_terms(view), self.start, view.encoder.state_dict())
        for (place, role), drift in self._drift.items():
            metrics.log_scalar(metric_name(place, role), drift, weight=0, priority=900)


def check_frozen(view: EncoderView) -> None:
    """Refuse a model of which everything trains.

    Raises:
        ValueError: that.
    """
    if all(parameter.requires_grad for parameter in view.model.parameters()):
        raise ValueError(
            "--criterion bitfit: nothing is frozen; say which bias terms train, for instance "
            f"--bitfit-terms {ALL} or --bitfit-terms {PUBLISHED}, or take "
            "--criterion sentence_prediction to train everything"
        )


def describe_training(view: EncoderView) -> str:
    """How much of the model trains, in one line."""
    share = trained_share(view)
    roles = dict.fromkeys(term.role for term in trained_terms(view))
    return (
        f"bitfit: {share.biases:,} of {share.total:,} parameters train "
        f"({100 * share.biases / share.total:.3f} %), the biases of {', '.join(roles)}; beside "
        f"them the classification head's {share.heads:,}"
    )
