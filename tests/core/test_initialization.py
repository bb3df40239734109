from __future__ import annotations

import pytest
import torch
from torch import nn

from tupe_plugin.core.encoder import TupeEncoder
from tupe_plugin.core.heads import ClassificationHead, MaskedLMHead
from tupe_plugin.core.initialization import STANDARD_DEVIATION, init_bert_params
from tupe_plugin.core.position_scheme import POSITION_SCHEMES

EMBED, PAD = 48, 1
#: Five standard errors of a sample's standard deviation, for the smallest matrix below.
SMALLEST = 33 * 3
TOLERANCE = 5 / (2 * SMALLEST) ** 0.5


def model(scheme: str, seed: int = 1) -> nn.ModuleDict:
    torch.manual_seed(seed)
    encoder = TupeEncoder(
        101,
        PAD,
        num_layers=2,
        embed_dim=EMBED,
        ffn_embed_dim=59,
        num_heads=3,
        max_positions=31,
        scheme=POSITION_SCHEMES[scheme],
        embedding_normalize=True,
        normalize_before=True,
    )
    parts = nn.ModuleDict(
        {
            "encoder": encoder,
            "lm_head": MaskedLMHead(encoder.embed_tokens.weight),
            "classifier": ClassificationHead(EMBED, 5),
        }
    )
    return parts


@pytest.mark.parametrize("scheme", list(POSITION_SCHEMES))
@pytest.mark.parametrize("again", [False, True])
def test_every_parameter_is_as_bert_s(scheme: str, again: bool) -> None:
    parts = model(scheme)
    if again:
        for name, parameter in parts.named_parameters():
            if name.endswith("proj_bias") or (name.endswith("bias") and "fc" in name):
                nn.init.ones_(parameter)  # not zero already
        parts.apply(init_bert_params)
    for name, parameter in parts.named_parameters():
        if "layer_norm" in name:
            assert (parameter == (1 if name.endswith("weight") else 0)).all(), name
        elif name.endswith("bias") and "relative" not in name:
            assert (parameter == 0).all(), name
        else:
            assert name.endswith("weight"), name
            rows = parameter.detach()
            if "embed_tokens" in name:
                assert (rows[PAD] == 0).all()
                rows = rows[torch.arange(len(rows)) != PAD]
            deviation = rows.std().item() / STANDARD_DEVIATION
            assert deviation == pytest.approx(1, abs=TOLERANCE), name
            assert abs(rows.mean().item()) < 5 * STANDARD_DEVIATION / rows.numel() ** 0.5, name


def test_the_deviation_is_bert_s() -> None:
    assert STANDARD_DEVIATION == 0.02


def test_the_tied_embedding_stays_tied_and_trainable() -> None:
    parts = model("tupe-r")
    assert parts["lm_head"].weight is parts["encoder"].embed_tokens.weight
    assert all(p.requires_grad and p.is_leaf for p in parts.parameters())


def test_the_seed_decides() -> None:
    one, same, other = (model("tupe-r", seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["lm_head.dense.weight"], other["lm_head.dense.weight"])


def test_one_call_touches_one_module_only() -> None:
    inner = nn.Linear(3, 3)
    before = inner.weight.detach().clone()
    init_bert_params(nn.Sequential(inner))
    assert torch.equal(inner.weight, before)


def test_a_linear_map_without_bias_and_an_embedding_without_padding() -> None:
    linear, embedding = nn.Linear(300, 300, bias=False), nn.Embedding(300, 300)
    for module in (linear, embedding):
        init_bert_params(module)
        assert module.weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert (module.weight != 0).any(dim=1).all()
