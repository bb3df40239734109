"""M-FAC in a plain PyTorch loop: no fairseq, no trainer (arXiv 2107.03356).

  python examples/mfac/plain_pytorch.py [--epochs 30] [--checkpoint FILE]

promise    two spirals, 99 % right or more on points not seen, after 30 epochs (seeds 1 to 3);
           --optimizer adam shows the same with Adam
hardware   one CPU core, seconds; a GPU is used where there is one
resume     with --checkpoint FILE the same command goes on where it was stopped, and ends as if
           it never had been: the window of gradients is in the optimizer's state_dict()
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tupe_plugin.core.mfac import MFAC

BATCH = 32


def spirals(points: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Two spirals, one turned by half a circle: places ``(points, 2)``, labels ``(points,)``."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(points) % 2
    turn = torch.rand(points, generator=generator).sqrt()
    angle = 3 * math.pi * turn + math.pi * label
    place = torch.stack([turn * angle.cos(), turn * angle.sin()], dim=1)
    return place + 0.02 * torch.randn(points, 2, generator=generator), label


def build_optimizer(name: str, model: nn.Module, lr: float | None) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam(model.parameters(), lr=lr or 1e-2)
    # The window takes num_grads times the room of the parameters: here 512 x 4,482 x 4 bytes.
    return MFAC(model.parameters(), lr=lr or 1e-3, num_grads=512, damping=1e-4)


def main(argv: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--stop-after", type=int, metavar="EPOCHS", help="as if it were killed")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="written after each epoch")
    parser.add_argument("--optimizer", choices=["mfac", "adam"], default="mfac")
    parser.add_argument("--lr", type=float, help="default: 1e-3 for mfac, 1e-2 for adam")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    x, y = (t.to(device) for t in spirals(1000, seed=1))
    test_x, test_y = (t.to(device) for t in spirals(1000, seed=2))
    model = nn.Sequential(
        nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2)
    ).to(device)
    optimizer = build_optimizer(args.optimizer, model, args.lr)
    updates = args.epochs * math.ceil(len(x) / BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: 1 - done / updates)

    first = 0
    if args.checkpoint and args.checkpoint.exists():
        saved = torch.load(args.checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        first = saved["epoch"]

    accuracy = math.nan
    for epoch in range(first, min(args.epochs, args.stop_after or args.epochs)):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch)).to(device)
        total = 0.0
        for batch in order.split(BATCH):
            # Averaged over the batch and not clipped: M-FAC's step depends on the gradient's size.
            loss = F.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(batch)
        with torch.no_grad():
            accuracy = float((model(test_x).argmax(1) == test_y).float().mean())
        print(f"epoch {epoch + 1:3d}  loss {total / len(x):.4f}  test accuracy {accuracy:.1%}")
        if args.checkpoint:
            state = {"model": model, "optimizer": optimizer, "schedule": schedule}
            saved = {name: part.state_dict() for name, part in state.items()}
            torch.save({**saved, "epoch": epoch + 1}, args.checkpoint)
    return accuracy


if __name__ == "__main__":
    main()
