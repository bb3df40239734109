"""Runs a function just before or just after a named module is executed."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any


class ImportHook:
    """A finder for `sys.meta_path` that watches for the modules that somebody asked about.

    A watched module is found by the other finders as always; only its loader is wrapped. To look
    for a module (`importlib.util.find_spec`) changes nothing, however often. The functions belong
    to the module's execution: they run again where it is executed again, after a failed import or
    by `importlib.reload`, because that undoes what they did.
    """

    mends_fairseq = True  # by this mark another copy of this package knows that one is in place

    def __init__(self) -> None:
        self._before: dict[str, list[Callable[[], None]]] = {}
        self._after: dict[str, list[Callable[[ModuleType], None]]] = {}

    def before(self, name: str, function: Callable[[], None]) -> None:
        """Call `function()` whenever module `name` is about to be executed."""
        self._before.setdefault(name, []).append(function)

    def after(self, name: str, function: Callable[[ModuleType], None]) -> None:
        """Call `function(module)` whenever module `name` has been executed; now too, if it was."""
        self._after.setdefault(name, []).append(function)
        module = sys.modules.get(name)
        # While it is being executed importlib says so in its spec; its functions follow then.
        if module is not None and not getattr(module.__spec__, "_initializing", False):
            function(module)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in self._before and name not in self._after:
            return None
        spec = self._find_elsewhere(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _NotifyingLoader(spec.loader, self)
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

    def execute(self, module: ModuleType, loader: importlib.abc.Loader) -> None:
        """Have the module's own `loader` execute it, between the functions that wait for it."""
        for before in tuple(self._before.get(module.__name__, ())):
            before()
        loader.exec_module(module)
        for after in tuple(self._after.get(module.__name__, ())):
            after(module)


class _NotifyingLoader(importlib.abc.Loader):
    """The module's own loader; the module that it executes is left with that one."""

    def __init__(self, loader: importlib.abc.Loader, hook: ImportHook) -> None:
        self._loader = loader
        self._hook = hook

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._hook.execute(module, self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
