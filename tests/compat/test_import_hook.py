"""The hook calls its functions around an import, and leaves no trace on the module."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tupe_plugin.compat.import_hook import ImportHook
from tupe_plugin.compat.module_view import ModuleView


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of `watched_module`."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "watched_module", raising=False)
    path = tmp_path / "watched_module.py"
    path.write_text("value = 1\n")
    return path


@pytest.fixture
def hook(source: Path, monkeypatch: pytest.MonkeyPatch) -> ImportHook:
    hook = ImportHook()
    monkeypatch.setattr(sys, "meta_path", [hook, *sys.meta_path])
    return hook


@pytest.fixture
def calls(hook: ImportHook) -> list[str]:
    """What the functions around `watched_module` did; the later one doubles its value."""
    calls: list[str] = []

    def double(module: ModuleType) -> None:
        calls.append("after")
        module.value *= 2

    hook.before("watched_module", lambda: calls.append("before"))
    hook.after("watched_module", double)
    return calls


def test_functions_run_before_and_after_the_module(calls: list[str]) -> None:
    module = importlib.import_module("watched_module")
    assert (calls, module.value) == (["before", "after"], 2)
    assert type(module.__loader__).__name__ == "SourceFileLoader"
    assert module.__spec__.loader is module.__loader__


def test_a_probe_changes_nothing(calls: list[str]) -> None:
    for _ in range(2):
        spec = importlib.util.find_spec("watched_module")
        assert spec is not None
        assert spec.loader.get_filename() == spec.origin  # type: ignore[union-attr]
    assert calls == []
    assert importlib.import_module("watched_module").value == 2
    importlib.util.find_spec("watched_module")
    assert calls == ["before", "after"]


def test_every_execution_is_followed_by_the_functions(calls: list[str], source: Path) -> None:
    source.write_text("raise RuntimeError('first try')\n")
    with pytest.raises(RuntimeError, match="first try"):
        importlib.import_module("watched_module")
    assert calls == ["before"]
    source.write_text("value = 1\n")
    module = importlib.import_module("watched_module")
    assert (calls, module.value) == (["before", "before", "after"], 2)
    assert importlib.reload(module).value == 2


def test_a_module_that_is_imported_already_is_mended_at_once(hook: ImportHook) -> None:
    calls: list[ModuleType] = []
    hook.after("json", calls.append)
    assert calls == [importlib.import_module("json")]


def test_a_missing_module_stays_missing_and_can_come_later(
    hook: ImportHook, tmp_path: Path
) -> None:
    calls: list[ModuleType] = []
    hook.after("late_module", calls.append)
    with pytest.raises(ModuleNotFoundError, match="late_module"):
        importlib.import_module("late_module")
    (tmp_path / "late_module.py").write_text("")
    importlib.invalidate_caches()
    assert calls == [importlib.import_module("late_module")]
    sys.modules.pop("late_module")


def test_a_module_view_replaces_its_names_only() -> None:
    import math

    view = ModuleView(math, pi=3)
    assert (view.pi, view.tau) == (3, math.tau)
    assert math.pi != 3
    assert "sqrt" in dir(view)
    with pytest.raises(AttributeError):
        _ = view.no_such_name
