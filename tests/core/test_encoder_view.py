"""A view accounts for every part of an encoder, or there is none."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tupe_plugin.core.bitfit import train_only_biases, trained_terms
from tupe_plugin.core.encoder_family import ROLES, UnknownEncoderError
from tupe_plugin.core.encoder_view import view_of
from tupe_plugin.core.layer_decay import parameter_depths
from tupe_plugin.core.noise_sites import AttentionNoise, WordNoise

PAGE = Path(__file__).parents[2] / "docs" / "your-own-encoder.md"
TOKENS = torch.tensor([[1, 5, 6, 7, 2], [1, 9, 2, 0, 0]])


@pytest.fixture(scope="module")
def page() -> dict[str, object]:
    """What the page's example defines: `MyEncoder` and its table `MINE`."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    defined: dict[str, object] = {}
    exec(compile(code, str(PAGE), "exec"), defined)
    return defined


class WithHead(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(encoder)
        self.classifier = nn.Linear(8, 2)


def made_up(page) -> tuple[nn.Module, object]:
    torch.manual_seed(1)
    return WithHead(page["MyEncoder"]()), page["MINE"]


def test_the_parts_of_a_made_up_encoder(page) -> None:
    model, family = made_up(page)
    view = view_of(model, family=family)
    encoder = model.inner[0]
    assert view.encoder is encoder
    assert view_of(view) is view
    assert view.names.prefix == "inner.0."
    assert view.layers == tuple(encoder.blocks)
    assert view.attentions == tuple(block.attn for block in encoder.blocks)
    assert (view.word_embedding, view.padding_idx) == (encoder.words, 0)
    assert [(term.place, term.role) for term in view.biases] == [
        (str(layer), role) for layer in range(2) for role in ROLES
    ]


def test_strategies_on_a_made_up_encoder(page) -> None:
    model, family = made_up(page)
    view = view_of(model, family=family)
    levels = {name: parameter_depths(view)[p].level for name, p in model.named_parameters()}
    assert levels["inner.0.words.weight"] == 0
    assert levels["inner.0.blocks.1.attn.q.weight"] == 2
    assert levels["classifier.bias"] == 4

    share = train_only_biases(view, "query,intermediate")
    assert (share.biases, share.heads) == (2 * (8 + 16), 18)
    assert {term.role for term in trained_terms(view)} == {"query", "intermediate"}

    encoder = model.inner[0]
    plain = encoder(TOKENS)
    for site in (WordNoise(view), AttentionNoise(view, "weights"), AttentionNoise(view, "logits")):
        generator = torch.Generator().manual_seed(2)
        noise = site.space(TOKENS).draw(lambda e, _, g=generator: e.normal_(generator=g))
        with site.entering(noise):
            noisy = encoder(TOKENS)
        assert not torch.allclose(noisy, plain, atol=1e-3)
        assert torch.equal(encoder(TOKENS), plain)


@pytest.mark.parametrize("site", ["weights", "logits"])
@pytest.mark.parametrize("bool_mask", [None, False, True])
def test_hooked_attention_has_the_noise_of_the_equation(page, site, bool_mask) -> None:
    """(softmax(S + M) + R) V or softmax(S + M + R) V, with a mask M of either kind or none."""
    attention = page["MyEncoder"]().blocks[0].attn
    x, noise = torch.randn(2, 5, 8), torch.randn(2, 2, 5, 5)
    seen = torch.ones(2, 1, 5, 5, dtype=torch.bool)
    seen[1, :, :, 3:] = False
    additive = torch.zeros(2, 1, 5, 5).masked_fill(~seen, float("-inf"))
    mask = None if bool_mask is None else seen if bool_mask else additive

    def heads(projection: nn.Module) -> Tensor:
        return projection(x).view(2, 5, 2, 4).transpose(1, 2)

    logits = heads(attention.q) @ heads(attention.k).transpose(2, 3) / 2
    logits = logits if mask is None else logits + additive
    weights = (
        torch.softmax(logits, -1) + noise
        if site == "weights"
        else torch.softmax(logits + noise, -1)
    )
    expected = (weights @ heads(attention.v)).transpose(1, 2).reshape(2, 5, 8)
    with page["MINE"].access.entering(attention, site, noise):
        ours = attention(x, mask=mask)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"biases": {}}, "nothing of the bias"),
        ({"before_layers": ()}, r"does not say where words\.weight stands"),
        ({"word_embedding": "tokens"}, r"no encoder of a known family \(mine\): describe your"),
    ],
)
def test_a_table_that_forgets_a_part_is_an_error(page, change, message) -> None:
    model, family = made_up(page)
    if "biases" in change:
        change = {"biases": {r: family.biases[r] for r in ROLES if r != "output"}}
    with pytest.raises(UnknownEncoderError, match=message):
        view_of(model, family=replace(family, **change))
