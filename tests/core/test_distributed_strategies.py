"""In plain PyTorch, two workers of DistributedDataParallel have the gradient of one, as documented.

`docs/python.md`: inner passes go around the wrapper, the last one through it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import tupe_plugin
from tests.core.random_parameters import randomized
from tupe_plugin.core.encoder import TupeEncoder
from tupe_plugin.core.position_scheme import POSITION_SCHEMES

pytestmark = pytest.mark.slow

TOKENS = torch.tensor([[1, 5, 6, 7, 2], [1, 9, 2, 0, 0], [1, 3, 8, 2, 0], [1, 4, 4, 9, 2]])
LABELS = torch.tensor([0, 2, 1, 1])
# From zero noise: what a worker drew would be its own.
SETTINGS = {
    "fgm": {"epsilon": 0.3},
    "pgd": {"epsilon": 0.3, "step_size": 0.2, "steps": 2},
    "freelb": {"epsilon": 0.3, "step_size": 0.2, "steps": 3, "init_size": 0.0},
    "rdrop": {"alpha": 0.7},
}


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = TupeEncoder(
            11,
            0,
            num_layers=2,
            embed_dim=6,
            ffn_embed_dim=10,
            num_heads=2,
            max_positions=7,
            scheme=POSITION_SCHEMES["tupe-a"],
            dropout=0.0,
            attention_dropout=0.0,
        )
        self.head = nn.Linear(6, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.encoder(tokens)[-1][:, 0])


def gradients(strategy: str, *, workers: int = 1, rank: int = 0) -> list[Tensor]:
    """Of one batch, of which each worker has its part."""
    torch.manual_seed(1)
    model = randomized(Classifier())
    wrapped = DistributedDataParallel(model) if workers > 1 else model
    tokens, labels = TOKENS.chunk(workers)[rank], LABELS.chunk(workers)[rank]
    settings = SETTINGS[strategy]

    def loss(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels)

    if strategy == "rdrop":
        total = tupe_plugin.rdrop(lambda: wrapped(tokens), loss, **settings).total
    else:
        total = tupe_plugin.adversarial_loss(
            tupe_plugin.make_adversary(strategy, **settings),
            tupe_plugin.make_noise_site(strategy, model, **settings),
            predict=lambda: model(tokens),
            loss=loss,
            tokens=tokens,
            parameters=model.parameters(),
            last=lambda: wrapped(tokens),
        ).total
    total.backward()
    return [param.grad for param in model.parameters()]


def worker(rank: int, workers: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=workers
    )
    found = {strategy: gradients(strategy, workers=workers, rank=rank) for strategy in SETTINGS}
    torch.save(found, Path(folder, f"{rank}.pt"))
    dist.barrier()
    dist.destroy_process_group()


def test_two_workers_have_the_gradient_of_one(tmp_path: Path) -> None:
    torch.multiprocessing.start_processes(
        worker, (2, str(tmp_path)), nprocs=2, start_method="forkserver"
    )
    ours = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    expected = {strategy: gradients(strategy) for strategy in SETTINGS}
    for found in ours:
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    words = torch.stack([of_strategy[0] for of_strategy in expected.values()])
    assert len(words.unique(dim=0)) == len(SETTINGS)  # the noise does something
