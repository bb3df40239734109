"""Write the English that every Python carries: the demo's corpus.

Source: the language reference in `pydoc_data.topics` and the docstrings of the standard library,
read with `ast` (nothing is imported or run). One sentence a line, about 16,000 of them; an empty
line ends a document (a chapter of the reference, or a module). The same Python gives the same
file, byte for byte.

    python build_corpus.py OUT.txt          # run.sh does
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

# Not documentation of the library: third-party code, tests, and vendored or generated trees.
SKIPPED_FOLDERS = {
    "__pycache__",
    "dist-packages",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "test",
    "tests",
    "turtledemo",
}
FEWEST_SENTENCES = 8_000  # fewer: this Python came without its sources or its documentation

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
BULLET = re.compile(r"^(?:[*+-]|\d+[.)])\s+")
CROSS_REFERENCE = re.compile(r"\s*\((?:see|See)[^()]*\)|\s*\[\d+\]")
MARKUP = re.compile(r':[a-z]+:(?=`)|[`*|"]')
WORD = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*[,;:.!?]?")
CODE = re.compile(r">>>|::=|->|[{}=<>\\@#$^~]|\.\.\.|\b(?:def|import) \w+[(:]")


def topics() -> Iterator[str]:
    """The chapters of the language reference, by name."""
    from pydoc_data.topics import topics as chapters

    for name in sorted(chapters):
        yield chapters[name]


def docstrings(folder: Path) -> Iterator[str]:
    """The docstrings of each module under `folder`, a module's joined to one text."""
    for path in sorted(folder.rglob("*.py")):
        if SKIPPED_FOLDERS.intersection(path.relative_to(folder).parts):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # SyntaxWarning: invalid escape sequence
                module = ast.parse(path.read_bytes())
        except SyntaxError:  # a template, or a file for another Python
            continue
        nodes = [node for node in ast.walk(module) if isinstance(node, DOCUMENTED)]
        yield "\n\n".join(ast.get_docstring(node) or "" for node in nodes)


def paragraphs(document: str) -> Iterator[str]:
    """Paragraphs of prose, each on one line; indented blocks, tables and titles are left out."""
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[*+-]|\d+[.)])\s)", document):
        lines = [line for line in block.splitlines() if line.strip()]
        if not lines or any(re.fullmatch(r"\s*[=*~^+|-]{3,}.*", line) for line in lines):
            continue
        yield BULLET.sub("", " ".join(line.strip() for line in lines))


def is_clean(sentence: str) -> bool:
    """True for a sentence of 4 to 60 words that is English prose, not code or a fragment."""
    words = sentence.split()
    if not 4 <= len(words) <= 60 or CODE.search(sentence) or not sentence[0].isupper():
        return False
    return sum(WORD.fullmatch(word) is not None for word in words) >= 0.7 * len(words)


def clean_documents(documents: Iterable[str]) -> Iterator[list[str]]:
    """The clean sentences of each document; a sentence that was met before is left out."""
    met = set()
    for document in documents:
        clean = []
        for paragraph in paragraphs(document):
            text = MARKUP.sub("", CROSS_REFERENCE.sub("", paragraph)).replace("--", " - ")
            for sentence in SENTENCE_END.split(" ".join(text.split())):
                if is_clean(sentence) and sentence.lower() not in met:
                    met.add(sentence.lower())
                    clean.append(sentence)
        if clean:
            yield clean


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="text file to write")
    args = parser.parse_args()

    library = Path(sysconfig.get_path("stdlib"))
    documents = list(clean_documents(chain(topics(), docstrings(library))))
    sentences = sum(len(document) for document in documents)
    if sentences < FEWEST_SENTENCES:
        print(
            f"build_corpus: only {sentences} sentences found in {library}: this Python comes "
            "without the sources of its library; use another one (make demo PYTHON=python3.12)",
            file=sys.stderr,
        )
        return 1
    text = "\n".join("".join(f"{sentence}\n" for sentence in doc) for doc in documents)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(text, encoding="utf-8")
    print(f"{sentences} sentences, {len(text.split())} words, {len(documents)} documents")
    return 0


if __name__ == "__main__":
    sys.exit(main())
