"""fairseq's fast path for inference gives what the path of training gives, or is not taken."""

from __future__ import annotations

import pytest
import torch
from fairseq.models.transformer import TransformerConfig
from fairseq.models.transformer.transformer_encoder import TransformerEncoderBase
from fairseq.modules import transformer_layer
from torch import Tensor, nn

from tupe_plugin.compat import encoder_fast_path
from tupe_plugin.compat.module_view import ModuleView

VOCABULARY, PAD, DIM = 11, 1, 6


def config() -> TransformerConfig:
    cfg = TransformerConfig()
    cfg.encoder.layers, cfg.encoder.embed_dim, cfg.encoder.ffn_embed_dim = 2, DIM, 7
    cfg.encoder.attention_heads = 2
    cfg.dropout = 0.0
    return cfg


def loaded(model: nn.Module) -> nn.Module:
    """Only a model that has loaded its weights may take the fast path."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    model.load_state_dict(model.state_dict())
    return model.eval()


@pytest.fixture
def fast_calls(monkeypatch: pytest.MonkeyPatch) -> list[Tensor | None]:
    """The mask of each call that torch's function got."""
    masks: list[Tensor | None] = []
    original = transformer_layer.torch._transformer_encoder_layer_fwd

    def watched(*arguments: object) -> Tensor:
        masks.append(arguments[18])
        return original(*arguments)

    view = ModuleView(transformer_layer.torch, _transformer_encoder_layer_fwd=watched)
    monkeypatch.setattr(transformer_layer, "torch", view)
    return masks


@pytest.mark.parametrize(
    ("is_padding", "masked"),
    [
        ([[0, 0, 0], [0, 0, 0]], False),
        ([[0, 0, 0], [1, 1, 0]], True),  # on the left, as sources of translation are
        ([[0, 0, 0], [0, 1, 1]], False),  # torch takes sentences one by one
        ([[0, 0, 1], [0, 1, 1]], True),  # wider than the longest, --required-seq-len-multiple
    ],
)
def test_masks_are_those_of_training(
    is_padding: list[list[int]], masked: bool, fast_calls: list[Tensor | None]
) -> None:
    torch.manual_seed(0)
    embedding = nn.Embedding(VOCABULARY, DIM, PAD)
    encoder = loaded(TransformerEncoderBase(config(), None, embedding))
    tokens = torch.tensor([[4, 5, 6], [7, 8, 9]])
    tokens[torch.tensor(is_padding).bool()] = PAD
    with torch.no_grad():
        found = encoder(tokens)["encoder_out"][0]
        assert [mask is not None for mask in fast_calls] == [masked, masked]
        for layer in encoder.layers:
            layer.can_use_fastpath = False
        expected = encoder(tokens)["encoder_out"][0]
    assert len(fast_calls) == 2
    kept = tokens.ne(PAD).t()
    torch.testing.assert_close(found[kept], expected[kept])


def test_a_layer_whose_input_is_not_batch_first_takes_the_usual_path(
    fast_calls: list[Tensor | None],
) -> None:
    torch.manual_seed(1)
    layer = loaded(transformer_layer.TransformerEncoderLayerBase(config()))
    x = torch.randn(5, 3, DIM)
    with torch.no_grad():
        together = layer(x, None)
        alone = torch.cat([layer(x[:, one : one + 1], None) for one in range(3)], dim=1)
    torch.testing.assert_close(together, alone)
    assert not fast_calls


def test_the_encoder_can_still_be_scripted() -> None:
    embedding = nn.Embedding(VOCABULARY, DIM, PAD)
    encoder = loaded(TransformerEncoderBase(config(), None, embedding))
    tokens = torch.tensor([[4, 5, 6], [PAD, 5, 6]])
    with torch.no_grad():
        found = torch.jit.script(encoder)(tokens)["encoder_out"][0]
        torch.testing.assert_close(found, encoder(tokens)["encoder_out"][0])


@pytest.mark.parametrize(
    ("version", "seen"),
    [("2.6.0a0+ecf3bae40a", "2.6.0"), ("2.13.0+cpu", "2.13.0+cpu"), ("2.7.1", "2.7.1")],
)
def test_versions_of_containers_are_read(
    version: str, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    monkeypatch.setattr(transformer_layer, "torch", ModuleView(torch))
    encoder_fast_path.read_the_version_of_every_torch(transformer_layer)
    assert transformer_layer.torch.__version__ == seen
    transformer_layer.TransformerEncoderLayerBase(config())
