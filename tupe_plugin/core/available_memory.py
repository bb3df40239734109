"""Whether a device is there, and how many bytes it has left: asked before training starts."""

from __future__ import annotations

import os
from pathlib import Path

import torch

_CGROUP = Path("/sys/fs/cgroup")


def usable_device(name: torch.device | str) -> torch.device:
    """The window's device of that name, after putting a number there and taking it back.

    Raises:
        ValueError: there is no such device here.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ValueError(
            f"window_device={str(name)!r} (--mfac-device) cannot be used here: {reason}; give "
            "cpu, or leave it out to keep the window with the parameters"
        ) from None
    return device


def available_bytes(device: torch.device) -> int | None:
    """Free memory of ``device`` for this process; None where it cannot be told.

    In host memory the limit of a container counts too, and the workers that torchrun has started
    on this machine share what there is.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + cached
    if device.type != "cpu":
        return None
    limits = [n for n in (_host_bytes(), _container_bytes(_CGROUP)) if n is not None]
    workers = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(limits) // max(workers, 1) if limits else None


def _host_bytes() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:  # not Linux
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _container_bytes(cgroup: Path) -> int | None:
    """What a version 2 control group still allows; its file cache can be given back."""
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
        statistics = (cgroup / "memory.stat").read_text().split()
    except OSError:
        return None
    if limit == "max":
        return None
    cached = int(statistics[statistics.index("inactive_file") + 1])
    return max(int(limit) - used + cached, 0)


def format_bytes(count: int) -> str:
    """``1234567890`` -> ``1.23 GB (1,234,567,890 bytes)``."""
    return f"{count / 1e9:.2f} GB ({count:,} bytes)"
