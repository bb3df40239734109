"""A vector shared out over the workers of a job: each holds equal, consecutive columns.

    share = ceil(dim / workers);   worker r holds columns [r share, (r + 1) share) below dim

The share may be rounded up to a multiple, so that no block of columns is cut in two.

Without a process group there is one worker, which holds them all, and nothing is communicated.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


class WorkerColumns:
    """Which columns of ``dim`` this worker holds, and the ways to bring workers together.

    Args:
        dim: columns in all.
        process_group: the workers; None for one worker.
        multiple: of columns, that no two workers share.
    """

    def __init__(
        self, dim: int, process_group: dist.ProcessGroup | None = None, *, multiple: int = 1
    ) -> None:
        self.dim = dim
        self.process_group = process_group
        self.num_workers = 1 if process_group is None else dist.get_world_size(process_group)
        self.rank = 0 if process_group is None else dist.get_rank(process_group)
        self.share = -(-dim // (self.num_workers * multiple)) * multiple
        start = min(self.rank * self.share, dim)
        self.own = slice(start, min(start + self.share, dim))

    @property
    def num_own(self) -> int:
        """Columns that this worker holds."""
        return self.own.stop - self.own.start

    def all_reduce(self, products: Tensor) -> Tensor:
        """Sum of a tensor over the workers."""
        if self.num_workers == 1:
            return products
        total = products.to(self._communication_device(), copy=True)
        dist.all_reduce(total, group=self.process_group)
        return total.to(products.device)

    def largest(self, value: float) -> float:
        """Of a number of each worker."""
        if self.num_workers == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self._communication_device())
        dist.all_reduce(total, op=dist.ReduceOp.MAX, group=self.process_group)
        return float(total)

    def all_gather(self, own: Tensor) -> Tensor:
        """The whole ``(dim,)``, from each worker's columns of it."""
        if self.num_workers == 1:
            return own
        padded = own.new_zeros(self.share, device=self._communication_device())
        padded[: self.num_own] = own
        whole = padded.new_empty(self.share * self.num_workers)
        dist.all_gather_into_tensor(whole, padded, group=self.process_group)
        return whole[: self.dim].to(own.device)

    def gather_rows(self, own: Tensor, *, to: int) -> Tensor | None:
        """``(rows, dim)`` in host memory on worker ``to``, from ``(rows, own columns)``; else None.

        Every worker must call it.
        """
        if self.num_workers == 1:
            return own.cpu()
        # As bytes: not every backend carries every type.
        padded = own.new_zeros(len(own), self.share, device=self._communication_device())
        padded[:, : self.num_own] = own
        payload = padded.view(torch.uint8)
        pieces = None
        if self.rank == to:
            pieces = [torch.empty_like(payload) for _ in range(self.num_workers)]
        assert self.process_group is not None
        destination = dist.get_global_rank(self.process_group, to)
        dist.gather(payload, pieces, dst=destination, group=self.process_group)
        if pieces is None:
            return None
        whole = torch.cat([piece.view(own.dtype).cpu() for piece in pieces], 1)
        # Contiguous: fairseq broadcasts the tensors of a checkpoint without their strides.
        return whole[:, : self.dim].contiguous()

    def _communication_device(self) -> torch.device:
        if "nccl" in dist.get_backend(self.process_group):
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("cpu")
