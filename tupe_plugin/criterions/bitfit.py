"""``--criterion bitfit``: fine-tuning of bias terms, with an eye on how far each of them moves.

Which terms train is the model's business (``--bitfit-terms``), so any criterion will do for
training; this one insists on it and logs, in each validation, the drift of ``core/bitfit.py``.
The biases at the start of fine-tuning go into every checkpoint, in fairseq's ``extra_state``, and
come back with it. fairseq lets no criterion without parameters near a checkpoint, so the trainer's
`state_dict` and `load_checkpoint` are wrapped, for this criterion only.
"""

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.sentence_prediction import SentencePredictionConfig
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.trainer import Trainer

from ..core.bitfit import ALL, PUBLISHED, mean_drift, metric_name, trained_terms
from ..core.encoder import TupeEncoder
from ._whole_set_criterion import WholeSetCriterion

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
            self._log_drift(encoder_of(model))
        return super().forward(model, sample, reduce)

    def start_from(self, model: BaseFairseqModel, saved: Mapping[str, Any] | None) -> None:
        """Take the biases as they are for the start, or ``saved`` ones of the run that goes on."""
        encoder = encoder_of(model)
        now = encoder.state_dict()
        keys = {term.key for term in trained_terms(encoder)}
        known = saved is not None and keys <= saved.keys()
        if saved is not None and not known:
            logger.warning(
                "the checkpoint does not say where these bias terms started: their drift is "
                "measured from here"
            )
        self._drift = None
        self.start = {
            key: saved[key] if saved is not None and known else now[key].float().cpu().clone()
            for key in sorted(keys)
        }

    def _log_drift(self, encoder: TupeEncoder) -> None:
        if self._drift is None:
            self._drift = mean_drift(trained_terms(encoder), self.start, encoder.state_dict())
        for (place, role), drift in self._drift.items():
            metrics.log_scalar(metric_name(place, role), drift, weight=0, priority=900)


def check_frozen(model: BaseFairseqModel) -> None:
    """Refuse a model of which everything trains.

    Raises:
        ValueError: everything trains, or the model is no tupe model.
    """
    encoder_of(model)
    if all(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(
            "--criterion bitfit: nothing is frozen; say which bias terms train, for instance "
            f"--bitfit-terms {ALL} or --bitfit-terms {PUBLISHED}, or take "
            "--criterion sentence_prediction to train everything"
        )


def describe_training(model: BaseFairseqModel) -> str:
    """How much of the model trains, in one line."""
    encoder = encoder_of(model)
    in_heads = sum(p.numel() for p in model.classification_heads.parameters())
    total = sum(p.numel() for p in model.parameters()) - in_heads
    biases = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    roles = dict.fromkeys(term.role for term in trained_terms(encoder))
    return (
        f"bitfit: {biases:,} of {total:,} parameters train ({100 * biases / total:.3f} %), the "
        f"biases of {', '.join(roles)}; beside them the classification head's {in_heads:,}"
    )


def encoder_of(model: BaseFairseqModel) -> TupeEncoder:
    """The core encoder of a tupe model.

    Raises:
        ValueError: it is no tupe model.
    """
    encoder = getattr(getattr(model, "encoder", None), "sentence_encoder", None)
    if not isinstance(encoder, TupeEncoder):
        raise ValueError("--criterion bitfit knows the bias terms of --arch tupe_* only")
    return encoder


def _with_start(state_dict: Callable[[Trainer], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """``Trainer.state_dict`` that also holds this criterion's biases of the start."""

    @functools.wraps(state_dict)
    def wrapper(trainer: Trainer) -> dict[str, Any]:
        state = state_dict(trainer)
        criterion = trainer.get_criterion()
        if isinstance(criterion, BitFitCriterion):
            state["extra_state"][_START] = criterion.start
        return state

    return wrapper


def _then_start(load_checkpoint: Callable[..., Any]) -> Callable[..., Any]:
    """``Trainer.load_checkpoint``, called once before training, that also starts this criterion."""

    @functools.wraps(load_checkpoint)
    def wrapper(
        trainer: Trainer, filename: str, reset_optimizer: bool = False, *rest: Any, **named: Any
    ) -> Any:
        criterion, model = trainer.get_criterion(), trainer.get_model()
        if not isinstance(criterion, BitFitCriterion):
            return load_checkpoint(trainer, filename, reset_optimizer, *rest, **named)
        check_frozen(model)
        extra_state = load_checkpoint(trainer, filename, reset_optimizer, *rest, **named)
        resumed = extra_state is not None and not reset_optimizer
        criterion.start_from(model, extra_state.get(_START, {}) if resumed else None)
        if trainer.is_data_parallel_master:
            logger.info(describe_training(model))
        return extra_state

    return wrapper


Trainer.state_dict = _with_start(Trainer.state_dict)
Trainer.load_checkpoint = _then_start(Trainer.load_checkpoint)
