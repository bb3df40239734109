"""The code of a model that transformers loads with `trust_remote_code`, out of this package.

A folder of transformers is flat: a file imports those beside it. So each file that is needed is
copied, found by its relative imports, and these then name the file alone.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_ROOM = _PACKAGE / "hugging_face"
_LICENSE = "Copyright (c) the tupe_plugin authors, MIT License"
_RELATIVE = re.compile(r"from \.[.\w]* import")


def write_code(module: str, folder: Path) -> None:
    """Write a module of `hugging_face/`, and all that it imports, into a folder."""
    found: dict[str, Path] = {}
    to_do = [_ROOM / f"{module}.py"]
    while to_do:
        path = to_do.pop()
        other = found.setdefault(path.name, path)
        assert other == path, f"{path} and {other} would be one file"
        to_do += [needed for needed in _imports(path).values() if needed.name not in found]
    for name, path in found.items():
        (folder / name).write_text(_flat(path), encoding="utf-8")


def _imports(path: Path) -> dict[int, Path]:
    """Of each line with a relative import, the file that it names."""
    return {
        node.lineno: (path.parents[node.level - 1] / node.module.replace(".", "/")).with_suffix(
            ".py"
        )
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level and node.module
    }


def _flat(path: Path) -> str:
    lines = path.read_text("utf-8").split("\n")
    for number, needed in _imports(path).items():
        line, count = _RELATIVE.subn(f"from .{needed.stem} import", lines[number - 1])
        assert count == 1, f"{path}:{number}"
        lines[number - 1] = line
    origin = f"# {path.relative_to(_PACKAGE.parent).as_posix()}, {_LICENSE}"
    return "\n".join([origin, *lines])
