"""``--criterion sentence_prediction`` with MCC, F1, Pearson and Spearman of the whole dev set.

Takes the place of fairseq's criterion of that name.
"""

from fairseq.criterions import CRITERION_REGISTRY, register_criterion
from fairseq.criterions.sentence_prediction import SentencePredictionConfig

from .whole_set_criterion import WholeSetCriterion

del CRITERION_REGISTRY["sentence_prediction"]


@register_criterion("sentence_prediction", dataclass=SentencePredictionConfig)
class WholeSetSentencePredictionCriterion(WholeSetCriterion):
    """fairseq's sentence-prediction loss; metrics of the whole set in validation."""
