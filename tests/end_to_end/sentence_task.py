"""Writes a small sentence-prediction task as `fairseq-preprocess` writes those of GLUE."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

# Any tiny model does: these tests are about what surrounds it.
TINY_MODEL = (
    *("--arch", "tupe_tiny", "--rel-pos", "--encoder-layers", 1, "--encoder-embed-dim", 16),
    *("--encoder-ffn-embed-dim", 16, "--encoder-attention-heads", 2, "--max-positions", 32),
)


def write_sentence_task(
    folder: Path,
    splits: Mapping[str, Sequence[tuple[str, str]]],
    *,
    regression: bool = False,
) -> Path:
    """Binarise (sentence, label) pairs of the splits `train`, `valid`, `valid1`, ...

    Returns the folder with `input0/` and `label/` that `fairseq-train` takes.
    """
    text = folder / "text"
    text.mkdir(parents=True)
    for split, pairs in splits.items():
        (text / f"{split}.input0").write_text("".join(f"{sentence}\n" for sentence, _ in pairs))
        (text / f"{split}.label").write_text("".join(f"{label}\n" for _, label in pairs))
    binary = folder / "bin"
    _preprocess(text, splits, "input0", binary / "input0")
    if regression:
        (binary / "label").mkdir()
        for split in splits:
            labels = (text / f"{split}.label").read_text()
            (binary / "label" / f"{split}.label").write_text(labels)
    else:
        _preprocess(text, splits, "label", binary / "label")
    return binary


def _preprocess(text: Path, splits: Mapping[str, object], part: str, into: Path) -> None:
    from fairseq import options
    from fairseq_cli import preprocess

    valid = [f"{text / name}.{part}" for name in sorted(splits) if name.startswith("valid")]
    arguments = ["--only-source", "--destdir", str(into), "--validpref", ",".join(valid)]
    arguments += ["--trainpref", f"{text}/train.{part}"]
    with contextlib.redirect_stdout(io.StringIO()):
        preprocess.main(options.get_preprocessing_parser().parse_args(arguments))
