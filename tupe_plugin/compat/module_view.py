"""A module seen with a few of its names replaced.

fairseq's modules say `import torch` and `import numpy as np`. Where one of them calls a function
that has changed since, that one module is given a view of the library, and the library itself stays
as it is for everybody else in the process.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any


class ModuleView(ModuleType):
    """`module` with `replacements`; every other name is looked up in `module` each time."""

    def __init__(self, module: ModuleType, **replacements: Any) -> None:
        super().__init__(module.__name__, module.__doc__)
        self.__dict__.update(replacements)
        self._viewed_module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._viewed_module, name)

    def __dir__(self) -> list[str]:
        return dir(self._viewed_module)
