"""The names of the package: the same ones for a type checker and for a program."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import tupe_plugin


def imports_for_type_checkers() -> dict[str, str]:
    """Name -> module, under TYPE_CHECKING."""
    assert tupe_plugin.__file__ is not None
    tree = ast.parse(Path(tupe_plugin.__file__).read_text("utf-8"))
    (block,) = (
        node for node in tree.body if isinstance(node, ast.If) and "TYPE" in ast.dump(node.test)
    )
    return {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def test_each_name_is_one_for_type_checkers_and_programs() -> None:
    declared = imports_for_type_checkers()
    assert sorted(tupe_plugin.__all__) == sorted([*declared, "use_with_fairseq"])
    assert set(tupe_plugin.__all__) <= set(dir(tupe_plugin))
    for name, module in declared.items():
        defined = vars(importlib.import_module(f"tupe_plugin.{module}"))[name]
        assert getattr(tupe_plugin, name) is defined
    with pytest.raises(AttributeError, match="'tupe_plugin' has no attribute 'bert'"):
        _ = tupe_plugin.bert


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_loss_is_averaged_or_summed_with_its_divergence(reduction: str) -> None:
    """Of the losses here, by hand: R-Drop of two given passes, and adversarial noise of none."""
    torch.manual_seed(1)
    first, second = torch.randn(2, 5, 3)
    targets = torch.tensor([0, 2, 1, 1, 0])
    passes = iter((first, second))
    loss = tupe_plugin.rdrop(
        lambda: next(passes),
        lambda logits: F.cross_entropy(logits, targets, reduction=reduction),
        alpha=0.7,
        reduction=reduction,
    )
    p, q = first.softmax(-1), second.softmax(-1)
    apart = ((p - q) * (p.log() - q.log())).sum(-1) / 2
    task = sum(F.cross_entropy(x, targets, reduction="none") for x in (first, second)) / 2
    expected = getattr(task + 0.7 * apart, reduction)()
    torch.testing.assert_close(loss.total, expected)
    with pytest.raises(ValueError, match="reduction='none': give mean or sum"):
        tupe_plugin.rdrop(lambda: first, lambda _: first, alpha=1.0, reduction="none")


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("fgm", {"steps": 2}, r"steps is not used by method fgm.*takes epsilon, norm, weight"),
        ("pgd", {"epsilon": -1.0}, "epsilon -1.0: give a number from 0 to 10,000"),
        ("pgd", {"norm": "l1"}, "norm l1: give one of l2, linf"),
        ("smart", {"init": "zero"}, "init zero: method smart follows the slope"),
        ("attention", {"site": "values"}, "site values: give one of weights, logits"),
        ("smrat", {}, "method smrat: give one of attention, fgm"),
    ],
)
def test_settings_of_a_method_are_checked(method: str, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tupe_plugin.make_adversary(method, **settings)
