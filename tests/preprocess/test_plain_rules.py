"""The quick steps give what sacremoses' rules give, run one after the other."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from tests.conftest import ROOT
from tests.preprocess.plain_rules import STEPS, differences, mixed_lines, random_lines


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_quick_rules_equal_plain_ones(step):
    rng = random.Random(1)
    real = (ROOT / "README.md").read_text(encoding="utf-8").split("\n")
    lines = [*real, *islice(mixed_lines(real, rng), 500), *islice(random_lines(step, rng), 2000)]
    assert list(differences(step, iter(lines))) == []


def test_a_line_may_have_any_number_of_protected_words():
    """sacremoses raises beyond 1,000."""
    from tupe_plugin.data.text.tokenize_words import tokenize_words

    assert tokenize_words("see <url>, " * 3000) == " ".join(["see <url> ,"] * 3000)
    assert tokenize_words("<url>" * 30_000 + ".") == "<url>" * 30_000 + " ."
