"""Models made for their shapes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

CODE = """
import sys
from torch import nn
from tupe_plugin.core.encoder import TupeEncoder
from tupe_plugin.core.initialization import init_bert_params
from tupe_plugin.core.position_scheme import POSITION_SCHEMES
from tupe_plugin.core.shapes_only import shapes_only

def made():
    sizes = dict(num_layers=1, embed_dim=6, ffn_embed_dim=5, num_heads=3, max_positions=7)
    encoder = TupeEncoder(11, 1, **sizes, scheme=POSITION_SCHEMES["tupe-r"])
    return encoder.apply(init_bert_params).state_dict()

with shapes_only():
    empty = made()
assert "torch._dynamo" not in sys.modules  # no command should wait for torch's compiler
assert {value.device.type for value in empty.values()} == {"meta"}
assert {k: v.shape for k, v in empty.items()} == {k: v.shape for k, v in made().items()}
"""


@pytest.mark.slow
def test_shapes_are_those_of_the_model_and_the_compiler_is_not_imported() -> None:
    subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, check=True)
