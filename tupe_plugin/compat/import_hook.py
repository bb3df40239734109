"""Runs a function just before or just after a named module is imported."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any


class ImportHook:
    """A finder for `sys.meta_path` that watches for the modules that somebody asked about.

    A watched module is found by the other finders as always; only its loader is wrapped, for the
    one moment at which the module has been executed.
    """

    mends_fairseq = True  # by this mark another copy of this package knows that one is in place

    def __init__(self) -> None:
        self._before: dict[str, list[Callable[[], None]]] = {}
        self._after: dict[str, list[Callable[[ModuleType], None]]] = {}

    def before(self, name: str, function: Callable[[], None]) -> None:
        """Call `function()` when module `name` is about to be imported (never, if it is)."""
        self._before.setdefault(name, []).append(function)

    def after(self, name: str, function: Callable[[ModuleType], None]) -> None:
        """Call `function(module)` once module `name` is imported (at once, if it is)."""
        module = sys.modules.get(name)
        if module is None:
            self._after.setdefault(name, []).append(function)
        else:
            function(module)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        for function in self._before.pop(name, ()):
            function()
        if name not in self._after:
            return None
        functions = self._after.pop(name)
        spec = self._find_elsewhere(name, path, target)
        if spec is None or spec.loader is None:
            self._after[name] = functions
        else:
            spec.loader = _NotifyingLoader(spec.loader, functions)
        return spec

    def _find_elsewhere(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> importlib.machinery.ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
        return None


class _NotifyingLoader(importlib.abc.Loader):
    """The module's own loader, and a call to each function after it."""

    def __init__(
        self, loader: importlib.abc.Loader, functions: list[Callable[[ModuleType], None]]
    ) -> None:
        self._loader = loader
        self._functions = functions

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        for function in self._functions:
            function(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
