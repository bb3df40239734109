"""compat finds `checkpoint/` and `core/` where the start-up hook has imported it by itself."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

COMPAT = ROOT / "tupe_plugin" / "compat"


@pytest.fixture
def alone() -> Iterator[Any]:
    """compat as a package without a parent; what that imports is forgotten afterwards."""
    spec = importlib.util.spec_from_file_location(
        "compat_alone", COMPAT / "__init__.py", submodule_search_locations=[str(COMPAT)]
    )
    assert spec is not None
    sys.modules["compat_alone"] = importlib.util.module_from_spec(spec)
    yield importlib.import_module("compat_alone.checkpoint_package")
    for name in [*sys.modules]:
        if name.startswith(("compat_alone", "_tupe_plugin_")):
            del sys.modules[name]


def test_it_is_imported_beside_a_compat_of_its_own(alone: Any) -> None:
    text = "".join(path.read_text() for path in COMPAT.glob("*.py"))
    used = set(re.findall(r'(checkpoint|core)_module\("(\w+)"\)', text))
    assert used > {("checkpoint", "read"), ("core", "bounds")}
    for package, name in used:
        module = getattr(alone, f"{package}_module")(name)
        assert module.__name__ == f"_tupe_plugin_{package}.{name}"
        assert Path(module.__file__) == COMPAT.parent / package / f"{name}.py"
