from __future__ import annotations

import math

import pytest
import torch

from tests.core.random_parameters import randomized
from tupe_plugin.core.position_scheme import (
    POSITION_SCHEMES,
    PositionEncoding,
    PositionScheme,
    ProjectedPositions,
    RelativeBias,
    position_scheme,
)

HEADS, HEAD_DIM, MAX_POSITIONS = 3, 5, 11
every_scheme = pytest.mark.parametrize("name", list(POSITION_SCHEMES))

#: scheme -> (products in the logits, into the input, into queries and keys, absolute, relative)
TABLE_1 = {
    "tupe-a": (2, False, False, True, False),
    "tupe-r": (2, False, False, True, True),
    "tupe-a-tie-cls": (2, False, False, True, False),
    "bert-a": (1, True, False, False, False),
    "bert-r": (1, True, False, False, True),
    "bert-a-d": (4, False, True, False, False),
    "none": (1, False, False, False, False),
}


def encoding(name: str) -> PositionEncoding:
    return randomized(
        PositionEncoding(POSITION_SCHEMES[name], MAX_POSITIONS, HEADS * HEAD_DIM, HEADS)
    )


def test_every_row_of_the_paper_s_table_and_the_control_are_there() -> None:
    assert set(POSITION_SCHEMES) == set(TABLE_1)
    assert all(scheme.name == name for name, scheme in POSITION_SCHEMES.items())


@every_scheme
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("length", [1, 7, MAX_POSITIONS])
def test_the_terms_are_those_of_the_table(name: str, training: bool, length: int) -> None:
    products, into_input, into_queries, absolute, relative = TABLE_1[name]
    assert POSITION_SCHEMES[name].scale(HEAD_DIM) == pytest.approx(
        1 / math.sqrt(products * HEAD_DIM), rel=1e-15
    )
    module = encoding(name).train(training)
    terms = module(length)
    present = [term is not None for term in (terms.embedding, terms.query, terms.key)]
    assert present == [into_input, into_queries, into_queries]
    assert (terms.attn_bias is not None) == (absolute or relative)
    if terms.embedding is not None:
        assert torch.equal(terms.embedding, module.learned.weight[:length])
    if terms.query is not None:
        queries, keys = module.projection(1, length + 1)
        assert torch.equal(terms.query, queries)
        assert torch.equal(terms.key, keys)
    if terms.attn_bias is not None:
        parts = [
            module.absolute(length) if absolute else 0,
            module.relative(length) if relative else 0,
        ]
        torch.testing.assert_close(terms.attn_bias, sum(parts), rtol=1e-10, atol=1e-10)
        assert terms.attn_bias.shape == (HEADS, length, length)


@pytest.mark.parametrize("name", ["tupe-r", "bert-r"])
def test_a_zero_relative_table_leaves_the_scheme_without_it(name: str) -> None:
    relative, plain = encoding(name), encoding({"tupe-r": "tupe-a", "bert-r": "bert-a"}[name])
    torch.nn.init.zeros_(relative.relative.bias.weight)
    plain.load_state_dict({k: v for k, v in relative.state_dict().items() if "relative" not in k})
    ours, theirs = relative.attn_bias(7), plain.attn_bias(7)
    expected = torch.zeros(HEADS, 7, 7, dtype=torch.float64) if theirs is None else theirs
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)


def test_only_the_untied_schemes_have_a_row_for_cls_in_the_relative_table() -> None:
    assert encoding("tupe-r").relative.bias.num_embeddings == 33
    assert encoding("bert-r").relative.bias.num_embeddings == 32


def test_tied_and_untied_differ_only_where_cls_takes_part() -> None:
    untied, tied = encoding("tupe-a"), encoding("tupe-a-tie-cls")
    tied.load_state_dict(untied.state_dict())
    ours, theirs = untied.attn_bias(7), tied.attn_bias(7)
    assert torch.equal(ours[:, 1:, 1:], theirs[:, 1:, 1:])
    assert (ours[:, 0, 1:] != theirs[:, 0, 1:]).all()
    assert (ours[:, 1:, 0] != theirs[:, 1:, 0]).any()


def test_adding_relative_positions() -> None:
    for plain, relative in (("tupe-a", "tupe-r"), ("bert-a", "bert-r")):
        for name in (plain, relative):
            assert position_scheme(name, relative=True) is POSITION_SCHEMES[relative]


@pytest.mark.parametrize("name", ["none", "bert-a-d", "tupe-a-tie-cls"])
def test_a_scheme_without_a_relative_form_says_which_have_one(name: str) -> None:
    with pytest.raises(ValueError, match=rf"'{name}' has no form .*bert-a, tupe-a"):
        position_scheme(name, relative=True)


def test_a_new_scheme_is_one_object() -> None:
    """BERT-A^d with relative positions is in no paper; its terms are those of its parts."""
    scheme = PositionScheme("new", (ProjectedPositions(), RelativeBias()))
    module = randomized(PositionEncoding(scheme, MAX_POSITIONS, HEADS * HEAD_DIM, HEADS))
    terms = module(7)
    assert scheme.num_products == 4
    assert torch.equal(terms.query, module.projection(1, 8)[0])
    assert torch.equal(terms.attn_bias, module.relative(7))


@every_scheme
def test_a_sequence_too_long_names_both_lengths(name: str) -> None:
    with pytest.raises(ValueError, match="12 tokens is longer than max_positions=11"):
        encoding(name)(MAX_POSITIONS + 1)
