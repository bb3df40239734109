"""``--criterion rdrop``: sentence prediction with R-Drop; classification and regression.

The equation is in ``core/rdrop.py``. A training step is one forward over the doubled batch; sample
size and learning rate mean what they mean with ``--criterion sentence_prediction``, and validation
is that criterion's: the plain loss, metrics of the whole set.
"""

from dataclasses import dataclass
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.sentence_prediction import SentencePredictionConfig
from fairseq.models import BaseFairseqModel

from ..core.bounds import LOSS_WEIGHT, check_options, option
from ..core.rdrop import PUBLISHED
from .loss_terms import log_loss_terms, term_of
from .quiet_term import QuietTerm
from .rdrop_step import rdrop_step
from .task_loss import SentenceLoss
from .whole_set_criterion import WholeSetCriterion


@dataclass
class RDropConfig(SentencePredictionConfig):
    rdrop_alpha: float = option(
        1.0,
        LOSS_WEIGHT,
        "weight of the divergence between the two passes: more pulls them closer together; "
        + PUBLISHED,
    )


@register_criterion("rdrop", dataclass=RDropConfig)
class RDropCriterion(WholeSetCriterion):
    """Sentence prediction; two passes with different dropout shall predict the same."""

    def __init__(self, cfg: RDropConfig, task: Any):
        super().__init__(cfg, task)
        self.check_options(cfg)
        self._alpha = cfg.rdrop_alpha
        self._quiet_term = QuietTerm(
            f"R-Drop with --rdrop-alpha {cfg.rdrop_alpha:g}",
            "raise --rdrop-alpha, or dropout, without which both passes are the same",
        )
        self._loss = SentenceLoss(self.classification_head_name, regression=cfg.regression_target)

    @staticmethod
    def check_options(cfg: RDropConfig) -> None:
        """Refuse a weight that is out of bounds.

        Raises:
            ValueError: there is such an option.
        """
        check_options(cfg, RDropConfig)

    def forward(
        self, model: BaseFairseqModel, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        if not self.training:
            self._quiet_term.look()
            return super().forward(model, sample, reduce)
        loss, sample_size, log = rdrop_step(self._loss, model, sample, alpha=self._alpha)
        if self._alpha:
            self._quiet_term.note(log["loss"], term_of(log, "task_loss"))
        return loss, sample_size, log

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        WholeSetCriterion.reduce_metrics(logging_outputs)
        log_loss_terms(logging_outputs)
