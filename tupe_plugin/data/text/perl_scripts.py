"""The Perl scripts of mosesdecoder, run over a block of lines at once.

`tokenize_words` and `normalize_punctuation` equal them on the lines that were compared; these are
for those who want the scripts themselves (`--tokenizer perl`) and for the tests that compare.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from .protected_words import PROTECTED_WORDS

_SUBMODULE = Path(__file__).parents[3] / "third_party" / "mosesdecoder"
_ARGUMENTS = {
    "normalize-punctuation.perl": ["-l", "en"],
    "remove-non-printing-char.perl": [],
    "tokenizer.perl": ["-q", "-no-escape", "-l", "en", "-threads", "1"],
}


class PerlScriptError(ValueError):
    """A script that is not there or does not do its work; the message says what to do."""


def scripts_folder() -> Path:
    """The scripts of the submodule, or of the checkout that MOSESDECODER names.

    Raises:
        PerlScriptError: they or perl are not there.
    """
    folder = Path(os.environ.get("MOSESDECODER") or _SUBMODULE) / "scripts" / "tokenizer"
    missing = [name for name in _ARGUMENTS if not (folder / name).is_file()]
    if missing:
        raise PerlScriptError(
            f"no {folder / missing[0]}: git submodule update --init third_party/mosesdecoder, or "
            f"let MOSESDECODER name a checkout of it"
        )
    if shutil.which("perl") is None:
        raise PerlScriptError("no perl on PATH, which the scripts of mosesdecoder need")
    return folder


def run_perl_script(name: str, lines: list[str]) -> list[str]:
    """The lines after one script: as many as before.

    Raises:
        PerlScriptError: the script is not there, fails, or gives another number of lines.
    """
    folder = scripts_folder()
    command = ["perl", str(folder / name), *_ARGUMENTS[name]]
    if name == "tokenizer.perl":
        command += ["-protected", str(Path(__file__).with_name("protected_words.txt"))]
    # A carriage return would be a line end to nobody but the Perl scripts' readers.
    text = "".join(line.replace("\n", " ") + "\n" for line in lines)
    result = subprocess.run(
        command, input=text.encode("utf-8"), capture_output=True, check=False, env=_environment()
    )
    output = result.stdout.decode("utf-8", errors="ignore").split("\n")[:-1]
    if result.returncode != 0 or len(output) != len(lines):
        last = result.stderr.decode("utf-8", errors="replace").strip().split("\n")[-1]
        raise PerlScriptError(
            f"{name}: exit status {result.returncode}, {len(output)} lines for {len(lines)}: {last}"
        )
    return [line.strip() for line in output] if name == "tokenizer.perl" else output


def _environment() -> dict[str, str]:
    # Perl's \w and its like follow the locale; the scripts were compared in this one.
    return {**os.environ, "LC_ALL": "C.UTF-8", "PERL_UNICODE": ""}


def protected_words_text() -> str:
    """What `protected_words.txt` must hold: the words as patterns, one a line."""
    return "".join(word + "\n" for word in PROTECTED_WORDS)
