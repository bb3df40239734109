"""`python -m tupe_plugin.compat`: what of fairseq is patched here, why, and for which versions.

    python -m tupe_plugin.compat                    one screen
    python -m tupe_plugin.compat NAME ...           all about these patches, or files of patches
    python -m tupe_plugin.compat --all              all about all

Everything is read from the docstrings of the patches.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import platform
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from . import PATCHES, make_config_dataclasses_hashable
from .compiled_extensions import StandInFinder

WIDTH = 100
LIBRARIES = ("fairseq", "torch", "numpy", "omegaconf", "hydra-core", "bitarray", "sacrebleu")
_VERSION = re.compile(r"\b(Python|torch|numpy|bitarray|sacrebleu) (>=|<=) (\d+(?:\.\d+)*)")


def patches() -> dict[Any, list[str]]:
    """Each patch, and the modules of fairseq that it patches."""
    found: dict[Any, list[str]] = {
        make_config_dataclasses_hashable: ["fairseq"],
        StandInFinder: ["fairseq"],
    }
    for module, patch in PATCHES:
        found.setdefault(patch, []).append(module)
    return found


def version_of(patch: Callable[..., Any]) -> str:
    """The first version that its docstring says it is for, or nothing."""
    _, _, condition = (inspect.getdoc(patch) or "").partition("When:")
    named = _VERSION.search(condition.partition("Fix:")[0])
    return " ".join(named.groups()) if named else ""


def summary() -> str:
    """One screen."""
    by_version: dict[str, list[Any]] = defaultdict(list)
    by_file: dict[Any, int] = defaultdict(int)
    for patch in patches():
        if version := version_of(patch):
            by_version[version].append(patch)
        else:
            by_file[inspect.getmodule(patch)] += 1
    number = len(patches())
    lines = [f"{number} patches of fairseq 0.12.2.", *_here(), "", "With newer versions it fails:"]
    for version in sorted(by_version):
        lines += [_row(f"{version:16}", _title(patch)) for patch in by_version[version]]
    lines += ["", "With every version; the number of patches, and where they are:"]
    for file in sorted(by_file, key=lambda file: file.__name__):
        name = file.__name__.rpartition(".")[2]
        text = (file.__doc__ or "").split("\n\n")[0]
        lines.append(_row(f"{by_file[file]:2} {name:24}", text))
    lines += ["", "The whole text of one of them, or of a patch: python -m tupe_plugin.compat NAME"]
    return "\n".join(lines)


def whole_text(names: Sequence[str]) -> str:
    """All about the patches of these names, or in the files of these names.

    Raises:
        SystemExit: there is none of that name.
    """
    known = patches()
    chosen: dict[Any, list[str]] = {}
    for name in names:
        found = {
            patch: modules
            for patch, modules in known.items()
            if name in (patch.__name__, patch.__module__.rpartition(".")[2])
        }
        if not found:
            raise SystemExit(f"no patch and no file of patches is called {name}")
        chosen |= found
    return "\n\n".join(
        f"{patch.__name__}, of {', '.join(modules)}\n{inspect.getdoc(patch)}"
        for patch, modules in (chosen or known).items()
    )


def _here() -> list[str]:
    versions = [f"Python {platform.python_version()}"]
    for library in LIBRARIES:
        try:
            versions.append(f"{library} {importlib.metadata.version(library)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {library}")
    hook = any(
        type(finder).__name__ == "FairseqWatcher" or hasattr(finder, "mends_fairseq")
        for finder in sys.meta_path
    )
    how = "in place" if hook else "NOT in place: install the package, do not only name its path"
    return [f"Here: {', '.join(versions)}", f"The start-up hook is {how}."]


def _title(patch: Any) -> str:
    name = patch.__name__.replace("_", " ")
    return f"{name}: {(inspect.getdoc(patch) or '').splitlines()[0]}"


def _row(head: str, text: str) -> str:
    width = min(WIDTH, max(shutil.get_terminal_size((WIDTH, 60)).columns, 60))
    text = " ".join(text.split())
    room = width - len(head) - 3
    return f"  {head} {text if len(text) <= room else text[: room - 3] + '...'}"


def main(arguments: Sequence[str]) -> None:
    if arguments:
        text = whole_text([name for name in arguments if name != "--all"])
    else:
        text = summary()
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
