"""One table for each family of encoders; the order does not matter, as no two fit one model."""

from ..encoder_family import Family
from .bert import BERT
from .distilbert import DISTILBERT
from .fairseq_transformer import FAIRSEQ_TRANSFORMER
from .mpnet import MPNET
from .tupe import TUPE

FAMILIES: list[Family] = [TUPE, FAIRSEQ_TRANSFORMER, BERT, MPNET, DISTILBERT]
"""Your own table may be appended: see docs/your-own-encoder.md."""
