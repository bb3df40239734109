"""``--criterion adversarial``: sentence prediction or masked LM with adversarial noise.

The methods are in ``core/adversarial.py``, the options in ``adversarial_options.py``.  The task
decides which of fairseq's losses is made adversarial; validation is that loss as it is.
"""

from typing import Any

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.criterions.masked_lm import MaskedLmLoss
from fairseq.models import BaseFairseqModel
from fairseq.tasks.masked_lm import MaskedLMTask

from .adversarial_options import AdversarialConfig, settings_of
from .adversarial_step import AdversarialStep
from .loss_terms import log_loss_terms
from .task_loss import MaskedLMLoss, SentenceLoss
from .whole_set_criterion import WholeSetCriterion


class NoiseInTraining:
    """What both tasks' criterions share: noise in training, and validation without."""

    _step: AdversarialStep
    training: bool

    def forward(
        self, model: BaseFairseqModel, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[torch.Tensor, Any, dict[str, Any]]:
        if not self.training:
            self._step.before_validation()
            return super().forward(model, sample, reduce)  # type: ignore[misc]
        return self._step(model, sample)

    def begin(self, model: BaseFairseqModel, state: Any) -> str:
        """Look at the model before training; see `AdversarialStep.begin`."""
        return self._step.begin(model, state)

    def kept_state(self) -> dict[str, Any]:
        """What a checkpoint keeps; see `AdversarialStep.kept_state`."""
        return self._step.kept_state()

    def before_update(self, updates: int, scheduler: Any) -> None:
        """Let the noise grow; called by the trainer before each update."""
        self._step.before_update(updates, scheduler)


class AdversarialSentencePrediction(NoiseInTraining, WholeSetCriterion):
    """Sentence prediction: classification, or regression with `--regression-target`."""

    def __init__(self, cfg: AdversarialConfig, task: Any):
        super().__init__(cfg, task)
        loss = SentenceLoss(self.classification_head_name, regression=cfg.regression_target)
        self._step = AdversarialStep(cfg, loss)

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        WholeSetCriterion.reduce_metrics(logging_outputs)
        log_loss_terms(logging_outputs)


class AdversarialMaskedLM(NoiseInTraining, MaskedLmLoss):
    """Masked language modelling; a masked token is a row of the divergences."""

    def __init__(self, cfg: AdversarialConfig, task: Any):
        super().__init__(cfg, task)
        if cfg.regression_target:
            raise ValueError("--regression-target does not go with --task masked_lm: leave it out")
        self._step = AdversarialStep(cfg, MaskedLMLoss(self.padding_idx))

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        MaskedLmLoss.reduce_metrics(logging_outputs)
        log_loss_terms(logging_outputs)


@register_criterion("adversarial", dataclass=AdversarialConfig)
class AdversarialCriterion(FairseqCriterion):
    """The name on the command line; builds the criterion that fits the task.

    fairseq's sentence-prediction task reads its head's name from the criterion's options, so these
    are the same for both tasks.
    """

    @staticmethod
    def check_options(cfg: AdversarialConfig) -> None:
        """Refuse options that are out of bounds, or do not go together.

        Raises:
            ValueError: there is such an option.
        """
        settings_of(cfg)

    @classmethod
    def build_criterion(cls, cfg: AdversarialConfig, task: Any) -> FairseqCriterion:
        """Make a criterion for the task."""
        if isinstance(task, MaskedLMTask):
            return AdversarialMaskedLM(cfg, task)
        return AdversarialSentencePrediction(cfg, task)
