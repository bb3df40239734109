"""apex, where it is installed and there is CUDA: its LayerNorm and Adam, as fairseq decides.

A stand-in for apex lies on the path of a fresh Python, since fairseq looks for it while it is being
imported; and that Python is told that there is CUDA, or not.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import RunCommand

APEX = {
    "apex/__init__.py": "",
    "apex/normalization.py": "from torch.nn import LayerNorm as FusedLayerNorm\n",
    "apex/multi_tensor_apply.py": "class multi_tensor_applier:\n    available = True\n",
    "apex/optimizers.py": (
        "import torch\n"
        "class FusedAdam(torch.optim.Adam):\n"
        "    multi_tensor_adam = None\n"  # fairseq's sign of a version that is recent enough
    ),
}
BROKEN_APEX = {"apex/__init__.py": "raise ImportError('not to be imported')\n"}

PROGRAM = """
import argparse, json, sys
import torch
cuda = json.loads(sys.argv[1])
torch.cuda.is_available = lambda: cuda
from fairseq import optim, utils
from fairseq.data import Dictionary
utils.import_user_module(argparse.Namespace(user_dir=sys.argv[2]))
from fairseq.models import MODEL_REGISTRY
from tupe_plugin.models.tupe import TupeConfig, tupe_tiny

cfg = TupeConfig(rel_pos=True, embedding_normalize=True, encoder_normalize_before=True)
tupe_tiny(cfg)
task = argparse.Namespace(cfg=argparse.Namespace(), source_dictionary=Dictionary())
model = MODEL_REGISTRY["tupe"].build_model(cfg, task)
norms = {
    name: type(module).__module__
    for name, module in model.named_modules()
    if isinstance(module, torch.nn.LayerNorm)
}
options = argparse.Namespace(optimizer="adam", lr=[0.1], adam_betas="(0.9, 0.98)", tpu=False)
adam = optim.build_optimizer(options, list(model.parameters()))
print(json.dumps({"norms": norms, "adam": type(adam.optimizer).__name__}))
"""


@pytest.mark.parametrize(
    ("apex", "cuda", "layer_norm", "adam"),
    [
        (APEX, True, "fairseq.modules.layer_norm", "FusedAdamV2"),
        (APEX, False, "torch.nn.modules.normalization", "Adam"),
        (BROKEN_APEX, True, "torch.nn.modules.normalization", "Adam"),
    ],
    ids=["apex and CUDA", "apex without CUDA", "CUDA without apex"],
)
@pytest.mark.slow
def test_apex(
    apex: dict[str, str],
    cuda: bool,
    layer_norm: str,
    adam: str,
    run_command: RunCommand,
    tmp_path: Path,
) -> None:
    for name, content in apex.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    user_dir = Path(__file__).resolve().parents[2] / "tupe_plugin"
    finished = run_command(
        *("python", "-c", PROGRAM, json.dumps(cuda), user_dir), env={"PYTHONPATH": str(tmp_path)}
    )
    found = json.loads(finished.stdout.splitlines()[-1])
    # two layers with two each, embedding, final, positions, masked-LM head
    assert len(found["norms"]) == 8
    assert set(found["norms"].values()) == {layer_norm}
    assert found["adam"] == adam
