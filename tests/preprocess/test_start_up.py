"""What a command of data, and each of its workers, loads before it does anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

FILES = sorted((ROOT / "tupe_plugin" / "data").rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_no_file_of_data_loads_torch_fairseq_or_its_patches():
    program = f"""
import importlib, sys
for name in {[module_name(path) for path in FILES]}:
    importlib.import_module(name)
    loaded = {{"torch", "fairseq", "tupe_plugin.compat"}} & sys.modules.keys()
    assert not loaded, f"{{name}} loads {{loaded}}"
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
