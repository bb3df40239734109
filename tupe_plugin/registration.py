"""Importing an adapter registers it with fairseq: this is where all of them are imported."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import pkgutil
import sys
from collections.abc import Iterable
from types import ModuleType

FAIRSEQ_VERSION = "0.12.2"
ADAPTER_FOLDERS = ("criterions", "models", "optim")

logger = logging.getLogger(__name__)


def use_with_fairseq() -> None:
    """Let fairseq run on today's Python, and know all of this package: now, or once imported.

    Only for a program that imports fairseq later, where the package is not installed but on
    PYTHONPATH: elsewhere the start-up hook does the same.
    """
    from .compat import activate  # 0.06 s, which workers and the commands of data need not wait

    activate()
    fairseq = sys.modules.get("fairseq")
    if fairseq is not None:
        register(fairseq)


def register(fairseq: ModuleType) -> None:
    """Import every adapter. `fairseq` is the imported package: proof that it can be done now."""
    if fairseq.__version__ != FAIRSEQ_VERSION:
        logger.warning(
            "tupe_plugin is made for fairseq %s; this is %s and may behave otherwise",
            FAIRSEQ_VERSION,
            fairseq.__version__,
        )
    for folder in ADAPTER_FOLDERS:
        importlib.import_module(f"{__package__}.{folder}")


def import_siblings(package: str, path: Iterable[str]) -> None:
    """Import every module of an adapter folder, but for private ones, as fairseq does.

    Raises:
        ModuleNotFoundError: fairseq is not installed.
    """
    require_fairseq()
    from .compat import activate

    activate()
    for module in pkgutil.iter_modules(path):
        if not module.name.startswith("_"):
            importlib.import_module(f"{package}.{module.name}")


def require_fairseq() -> None:
    """Say in one line how to install fairseq where it is missing.

    Raises:
        ModuleNotFoundError: fairseq is not installed.
    """
    if "fairseq" not in sys.modules and importlib.util.find_spec("fairseq") is None:
        raise ModuleNotFoundError(
            "fairseq is not installed: run "
            f"`READTHEDOCS=1 pip install --no-deps fairseq=={FAIRSEQ_VERSION}` "
            "(--no-deps because of its stale pins; READTHEDOCS=1 spares it a compiler)",
            name="fairseq",
        )
