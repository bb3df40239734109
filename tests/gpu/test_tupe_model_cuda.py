"""The fairseq model on a GPU: the loss and every gradient are those of the CPU."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

import pytest
import torch
from fairseq.data import Dictionary
from torch import Tensor
from torch.nn import functional as F

from tests.core.random_parameters import randomized
from tupe_plugin.models.tupe import TupeConfig, TupeModel, tupe_tiny

pytestmark = pytest.mark.gpu

BATCH, SEQ, CLASSES = 5, 23, 3


@pytest.fixture(autouse=True)
def _full_float32() -> Iterator[None]:
    """TF32 rounds inputs to ten bits; whether it is on depends on the build."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


def build_model(**options: object) -> TupeModel:
    cfg = TupeConfig(max_positions=31, dropout=0.0, attention_dropout=0.0, **options)
    cfg.pooler_dropout = 0.0
    tupe_tiny(cfg)
    dictionary = Dictionary()
    for number in range(37):
        dictionary.add_symbol(f"word{number}")
    model = TupeModel.build_model(cfg, Namespace(cfg=Namespace(), source_dictionary=dictionary))
    model.register_classification_head("head", num_classes=CLASSES)
    return randomized(model, std=0.1)


def loss_and_gradients(model: TupeModel, device: str) -> dict[str, Tensor]:
    """Masked LM and classification in one; the second half of the batch is padded."""
    generator = torch.Generator().manual_seed(7)
    tokens = torch.randint(4, 37, (BATCH, SEQ), generator=generator)
    masked = torch.rand(BATCH, SEQ, generator=generator) < 0.15
    masked[0, 0] = True
    labels = torch.randint(CLASSES, (BATCH,), generator=generator)
    tokens[BATCH // 2 :, 17:] = 1
    masked[BATCH // 2 :, 17:] = False

    model.to(device).zero_grad(set_to_none=True)
    tokens, masked, labels = (value.to(device) for value in (tokens, masked, labels))
    words, _ = model(tokens, masked_tokens=masked)
    classes, _ = model(tokens, features_only=True, classification_head_name="head")
    loss = F.cross_entropy(words, tokens[masked]) + F.cross_entropy(classes, labels)
    loss.backward()
    gradients = {name: value.grad.cpu() for name, value in model.named_parameters()}
    return {"loss": loss.detach().cpu(), **gradients}


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rel_pos": True},
        {"rel_pos": True, "encoder_normalize_before": True, "embedding_normalize": True},
        {"position_scheme": "bert-a-d"},
    ],
    ids=["tupe-a", "tupe-r", "tupe-r, normalised", "bert-a-d"],
)
def test_float32_equals_float64_on_the_cpu(options: dict[str, object], training: bool) -> None:
    model = build_model(**options).train(training)
    on_cpu = loss_and_gradients(model, "cpu")
    on_gpu = loss_and_gradients(model.float(), "cuda")
    # The bias of a key cannot change a softmax: its gradient is rounding only.
    rounding = 1e-6 * max(float(value.abs().max()) for value in on_cpu.values())
    for name, expected in on_cpu.items():
        torch.testing.assert_close(
            on_gpu[name], expected.float(), rtol=1e-4, atol=rounding, msg=name
        )
