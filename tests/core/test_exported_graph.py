"""Encoder and heads as one graph of `torch.export`, and in ONNX, for every batch and length."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tupe_plugin.core.encoder import TupeEncoder
from tupe_plugin.core.heads import ClassificationHead, MaskedLMHead
from tupe_plugin.core.position_scheme import position_scheme

pytestmark = pytest.mark.slow

LONGEST, PADDING = 23, 1
SHAPES = {"tokens": {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}}


class Outputs(nn.Module):
    """Features, logits over the vocabulary and of the classes."""

    def __init__(self, scheme: str) -> None:
        super().__init__()
        self.encoder = TupeEncoder(
            50,
            PADDING,
            num_layers=2,
            embed_dim=14,
            ffn_embed_dim=11,
            num_heads=2,
            max_positions=LONGEST,
            scheme=position_scheme(scheme),
            num_segments=2,
            separator_idx=2,
            unpad=False,  # as a graph is, so that all that it gives can be compared
        )
        self.lm_head = MaskedLMHead(self.encoder.embed_tokens.weight)
        self.class_head = ClassificationHead(14, 3)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.encoder(tokens)[-1]
        return features, self.lm_head(features), self.class_head(features)


def model_of(scheme: str) -> Outputs:
    torch.manual_seed(1)
    return Outputs(scheme).eval()


def batches() -> list[Tensor]:
    """One that the graph is made with, and others: without padding, with it, lengths 1 and most."""
    draw = torch.Generator().manual_seed(2)
    made = []
    for rows, length, padded in ((3, 7, 2), (5, LONGEST, 0), (2, LONGEST, 9), (1, 1, 0), (7, 2, 1)):
        tokens = torch.randint(2, 50, (rows, length), generator=draw)
        tokens[-1, length - padded :] = PADDING
        made.append(tokens)
    return made


@pytest.mark.parametrize("scheme", ["tupe-r", "bert-a-d"])
def test_a_graph_serves_every_batch(scheme: str) -> None:
    model = model_of(scheme)
    first, *others = batches()
    graph = torch.export.export(model, (first,), dynamic_shapes=SHAPES).module()
    for tokens in (first, *others):
        for exported, eager in zip(graph(tokens), model(tokens), strict=True):
            torch.testing.assert_close(exported, eager, rtol=1e-5, atol=1e-6)


def test_onnx_serves_every_batch(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = model_of("tupe-r")
    first, *others = batches()
    program = torch.onnx.export(model, (first,), dynamo=True, dynamic_shapes=SHAPES, verbose=False)
    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for tokens in (first, *others):
        found = session.run(None, {session.get_inputs()[0].name: tokens.numpy()})
        for values, eager in zip(found, model(tokens), strict=True):
            torch.testing.assert_close(torch.from_numpy(values), eager, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scheme", ["tupe-r", "bert-a-d"])
def test_training_is_one_graph_for_every_batch(scheme: str) -> None:
    """`fullgraph` refuses whatever would leave the graph; other shapes make none anew."""
    model = model_of(scheme).train()
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="eager")
    for tokens in batches()[:3]:
        gradients = []
        for run in (model, compiled):
            torch.manual_seed(3)
            model.zero_grad()
            sum(out.square().sum() for out in run(tokens)).backward()
            gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        for eager, traced in zip(*gradients, strict=True):
            torch.testing.assert_close(traced, eager, rtol=1e-4, atol=1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
