"""`tupe_plugin/checkpoint/` and `core/` for this layer, which the start-up hook imports alone.

The rules by which checkpoints are read, and the bounds of options, stand once, outside of this
folder. Where it is a package of its own (see startup.py), they are imported by the path beside it,
under a name of their own.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any


def checkpoint_module(name: str) -> Any:
    """The module `checkpoint/<name>.py`."""
    return _module_beside("checkpoint", name)


def core_module(name: str) -> Any:
    """The module `core/<name>.py`."""
    return _module_beside("core", name)


def _module_beside(package_name: str, name: str) -> Any:
    parent = __name__.split(".")[:-2]
    if parent:
        return importlib.import_module(".".join([*parent, package_name, name]))
    alone = f"_tupe_plugin_{package_name}"
    if alone not in sys.modules:
        folder = os.path.join(os.path.dirname(os.path.dirname(__file__)), package_name)
        spec = importlib.util.spec_from_file_location(
            alone, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
        )
        assert spec is not None
        assert spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules[alone] = package
        spec.loader.exec_module(package)
    return importlib.import_module(f"{alone}.{name}")
