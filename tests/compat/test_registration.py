"""Importing the plug-in registers it with fairseq, in whichever order."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from tupe_plugin import registration


def test_another_fairseq_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        registration.register(SimpleNamespace(__version__="0.12.2"))
        assert caplog.text == ""
        registration.register(SimpleNamespace(__version__="1.0.0a0"))
    assert "made for fairseq 0.12.2; this is 1.0.0a0" in caplog.text


def test_private_modules_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []
    modules = [SimpleNamespace(name="rdrop"), SimpleNamespace(name="_tables")]
    monkeypatch.setattr(registration.pkgutil, "iter_modules", lambda path: modules)
    monkeypatch.setattr(registration.importlib, "import_module", imported.append)
    registration.import_siblings("plugin.criterions", ["folder"])
    assert imported == ["plugin.criterions.rdrop"]
