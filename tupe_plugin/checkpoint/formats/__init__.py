"""One file for each family of checkpoints with names of its own.

    tupe_2021.py        files of the TUPE authors
    fairseq_roberta.py  `--arch roberta` of fairseq, its files of 2019 among them
    bert.py roberta.py mpnet.py     folders of Hugging Face's transformers
    tupe.py             the same of our own TUPE

Each is a table: how to tell it, names of parameters, configuration, rows of the vocabulary. What
reads the tables:

    hugging_face.py     a family of transformers, both ways
    key_table.py        names of parameters; our_names.py: how ours begin
    older_names.py      names of parameters in older files
    config_values.py    values of config.json
    vocabulary_rows.py  rows of the embedding
"""

from .bert import BERT
from .hugging_face import HuggingFaceFamily
from .mpnet import MPNET
from .roberta import ROBERTA
from .tupe import TUPE_IN_TRANSFORMERS

HUGGING_FACE: dict[str, HuggingFaceFamily] = {
    family.model_type: family for family in (BERT, ROBERTA, MPNET, TUPE_IN_TRANSFORMERS)
}
"""By the `model_type` of their config.json."""
