"""`tupe encode` against sentence-transformers: the same weights, sentences, batch size and threads.

    OMP_NUM_THREADS=1 RAYON_NUM_THREADS=1 python benchmarks/bench_encode.py MODEL \\
        --glue ../shared/data/glue --cpu-time > benchmarks/results/encode_<hardware>_<date>.md

MODEL is a folder of a sentence-transformers model with mean pooling; examples/huggingface/
round_trip.sh says how to get MiniLM's. The sentences are those of GLUE's dev sets, and the
embeddings must be the same, or nothing is told. Two things are measured, each in turns, so that a
busy machine slows both alike: a call on loaded models (`TupeModel.encode`), and a whole process
that reads a file of sentences and writes one of numbers. A ratio above 1 is in favour of ours.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import logging
import os
import statistics
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from torch.nn.functional import normalize

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a checkout, too

from benchmarks.measurement import (  # noqa: E402
    add_device_and_clock,
    commit,
    cost_of,
    device_name,
    rounds,
)
from tupe_plugin import TupeModel  # noqa: E402
from tupe_plugin.checkpoint.model_folder import CONFIG, read_object  # noqa: E402
from tupe_plugin.data.glue_tasks import load_tasks  # noqa: E402
from tupe_plugin.data.read.read_glue import read_table  # noqa: E402

THEIRS = "sentence_transformers"
TOLERANCE = 1e-5
PROGRAM = """
import sys
from sentence_transformers import SentenceTransformer
folder, source, target, batch_size, device = sys.argv[1:]
with open(source, encoding="utf-8") as file:
    rows = file.read().splitlines()
features = SentenceTransformer(folder, device=device).encode(rows, batch_size=int(batch_size))
with open(target, "w", encoding="utf-8") as file:
    file.writelines("\\t".join(f"{x:.9g}" for x in row.tolist()) + "\\n" for row in features)
"""
"""What `tupe encode` does, with sentence-transformers."""


def dev_sentences(glue: Path, count: int) -> list[str]:
    """Sentences from the dev sets that are there, at even distances.

    Raises:
        SystemExit: there are none.
    """
    found = []
    for task in load_tasks().values():
        (dev,) = (file for file in task.files if file.split == "valid")
        path = dev.find(glue / task.name)
        if path.exists():
            rows = list(read_table(path, dev, task))
            found += [text for row in rows if not isinstance(row, Exception) for text in row.inputs]
    if not found:
        raise SystemExit(f"{glue} has no dev set of GLUE")
    return found[:: max(1, len(found) // count)][:count]


def calls(args: argparse.Namespace, sentences: list[str]) -> Iterable[dict[str, float]]:
    """Seconds of each round, of a call on loaded models.

    Raises:
        SystemExit: the embeddings differ.
    """
    from sentence_transformers import SentenceTransformer

    logging.getLogger(THEIRS).setLevel(logging.WARNING)
    ours = TupeModel.from_pretrained(args.model, device=args.device)
    theirs = SentenceTransformer(str(args.model), device=args.device)
    size = args.batch_size
    steps = {
        "ours": lambda: ours.encode(sentences, batch_size=size),
        "theirs": lambda: theirs.encode(
            sentences, batch_size=size, show_progress_bar=False, convert_to_tensor=True
        ),
    }
    features = (normalize(steps[name]().float().cpu()) for name in steps)
    difference = float(torch.dist(*features, p=torch.inf))
    if difference > TOLERANCE:
        raise SystemExit(f"the embeddings differ by {difference:.1e}")
    print(f"- normalised embeddings differ by {difference:.1e} at most\n")
    return rounds(steps, args)


def processes(args: argparse.Namespace, sentences: list[str]) -> Iterable[dict[str, float]]:
    """The same of whole processes."""
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "sentences.txt", Path(name) / "features.tsv"
        source.write_text("".join(f"{one}\n" for one in sentences), encoding="utf-8")
        cpu = ["--cpu"] if args.device == "cpu" else []
        encode = ["-m", "tupe_plugin", "encode", args.model, "--text", source, "-o", target, *cpu]
        commands = {
            "ours": [*encode, "--batch-size", args.batch_size],
            "theirs": ["-c", PROGRAM, args.model, source, target, args.batch_size, args.device],
        }
        for _ in range(args.repeats):
            costs = {who: cost_of(*command) for who, command in commands.items()}
            yield {
                who: cost.cpu_seconds if args.cpu_time else cost.seconds
                for who, cost in costs.items()
            }


def row(what: str, times: list[dict[str, float]]) -> str:
    """Of the table."""
    ratios = sorted(one["theirs"] / one["ours"] for one in times)
    ours, theirs = (statistics.median(one[who] for one in times) for who in ("ours", "theirs"))
    middle = statistics.median(ratios)
    return (
        f"| {what} | {ours:.2f} | {theirs:.2f} "
        f"| {ratios[0]:.2f} | {middle:.2f} | {ratios[-1]:.2f} |"
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("--glue", type=Path, required=True, help="GLUE's folder of tasks")
    parser.add_argument("--sentences", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=32, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default: %(default)s)")
    add_device_and_clock(parser)
    args = parser.parse_args(arguments)
    if importlib.util.find_spec(THEIRS) is None:
        raise SystemExit("to compare with: pip install --no-deps sentence-transformers")
    sentences = dev_sentences(args.glue, args.sentences)
    config = read_object(args.model / CONFIG)
    names = ("model_type", "num_hidden_layers", "hidden_size")
    model_type, layers, width = (config.get(name) for name in names)
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", THEIRS)]
    print("# Encoding sentences: `tupe encode` against sentence-transformers\n")
    print(f"- hardware: {device_name(args.device)}, load {os.getloadavg()[0]:.1f} when it began")
    print(f"- date {datetime.date.today()}, commit {commit('tupe_plugin')}; {', '.join(versions)}")
    print(
        f"- {model_type}, {layers} x {width}; {len(sentences):,} sentences of GLUE's dev sets, "
        f"batches of {args.batch_size}, float32; {'CPU time' if args.cpu_time else 'wall clock'}, "
        f"{args.repeats} rounds in turns"
    )
    called = list(calls(args, sentences))
    print("| what | our s | their s | their s / our s: min | median | max |")
    print("|---|--:|--:|--:|--:|--:|")
    print(row("a call on loaded models", called))
    print(row("a whole process", list(processes(args, sentences))))


if __name__ == "__main__":
    main()
