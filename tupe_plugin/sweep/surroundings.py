"""What a run was trained on: versions, hardware, and the most memory that it took."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


@cache
def versions() -> dict[str, str]:
    """Those that decide a result; this package's is its commit, where it is a checkout."""
    return {
        "tupe_plugin": _commit() or metadata.version("tupe-plugin"),
        "torch": metadata.version("torch"),
        "fairseq": metadata.version("fairseq"),
        "python": platform.python_version(),
    }


def hardware() -> str:
    """The GPUs that this process sees, or its processor."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return names[0] if len(names) == 1 else f"{len(names)} x {names[0]}"
    return processor()


def processor() -> str:
    """Its model, the cores that this process may use, and the threads that torch does."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = torch.get_num_threads()
    return f"{_model()}, {_counted(cores, 'core')}, {_counted(threads, 'thread')}"


def peak_memory() -> int:
    """Bytes: of the GPUs, where there are any, else of this process."""
    import torch

    if torch.cuda.is_available():
        return sum(torch.cuda.max_memory_allocated(n) for n in range(torch.cuda.device_count()))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _commit() -> str:
    """Nothing where there is no git, or where the package only lies in somebody's checkout."""
    if not _git("ls-files", "__init__.py"):  # as in a virtual environment below their files
        return ""
    return _git("describe", "--always", "--dirty", "--abbrev=12")


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(PACKAGE), *words], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _counted(number: int | None, thing: str) -> str:
    return f"{number} {thing}" + "s" * (number != 1)


def _model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not a Linux
        pass
    return platform.processor() or platform.machine()
