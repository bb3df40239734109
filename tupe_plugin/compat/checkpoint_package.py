"""`tupe_plugin/checkpoint/` for this layer, which the start-up hook imports without tupe_plugin.

The rules by which checkpoints are read stand once, outside of this folder. Where it is a package of
its own (see startup.py), they are imported by the path beside it, under a name of their own.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any

_ALONE = "_tupe_plugin_checkpoint"


def checkpoint_module(name: str) -> Any:
    """The module `checkpoint/<name>.py`."""
    parent = __name__.split(".")[:-2]
    if parent:
        return importlib.import_module(".".join([*parent, "checkpoint", name]))
    if _ALONE not in sys.modules:
        folder = os.path.join(os.path.dirname(os.path.dirname(__file__)), "checkpoint")
        spec = importlib.util.spec_from_file_location(
            _ALONE, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
        )
        assert spec is not None
        assert spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules[_ALONE] = package
        spec.loader.exec_module(package)
    return importlib.import_module(f"{_ALONE}.{name}")
