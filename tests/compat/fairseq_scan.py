"""Where the installed fairseq runs text as code, starts programs, or fetches from elsewhere."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections import defaultdict
from pathlib import Path

BUILT_IN = {"eval", "exec", "compile", "__import__"}
CALLS = {
    "import_module": "import",
    "system": "shell",
    "popen": "shell",
    "urlopen": "download",
    "cached_path": "download",
    "snapshot_download": "download",
    "hf_hub_download": "download",
    "load_state_dict_from_url": "download",
    "instantiate": "instantiate",
}
FROM_MODULES = {
    "subprocess": "shell",
    "pickle": "pickle",
    "requests": "download",
    "hub": "hub",
    "yaml": "yaml",
}
READING = {"torch", "np", "numpy", "joblib"}
# Parsing all of fairseq takes seconds, so only files with one of these words are.
WORDS = re.compile(
    rf"(?<!\.)\b(?:{'|'.join(BUILT_IN)})\b|\b(?:{'|'.join((*CALLS, *FROM_MODULES))})\b"
    rf"|\b(?:{'|'.join(READING)})\.load\b|Tokenizer\.from_pretrained"
)


def scan(package: str) -> dict[str, set[str]]:
    """Kind -> files of the package (its examples left out) that have it."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(next(iter(spec.submodule_search_locations)))
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder.parent).as_posix()
        text = path.read_text(encoding="utf-8")
        if "/examples/" not in name and WORDS.search(text):
            for node in ast.walk(ast.parse(text)):
                for kind in _kinds(node):
                    found[kind].add(name)
    return found


def _kinds(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Name) and node.id in BUILT_IN:
        return {node.id}
    if not isinstance(node, ast.Call):
        return set()
    called = node.func
    if isinstance(called, ast.Name):
        return {CALLS[called.id]} if called.id in CALLS else set()
    if not isinstance(called, ast.Attribute):
        return set()
    owner = called.value
    last = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    kinds = {CALLS[called.attr]} if called.attr in CALLS else set()
    kinds |= {FROM_MODULES[last]} if last in FROM_MODULES else set()
    if last in READING and called.attr == "load":
        kinds.add(f"{last}.load")
    if called.attr == "from_pretrained" and "Tokenizer" in last:
        kinds.add("download")
    return kinds
