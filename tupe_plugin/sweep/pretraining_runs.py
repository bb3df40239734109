"""The pre-trainings of a comparison: position schemes x seeds, alike in everything else.

FOLDER/SCHEME/seedN/     run.json, train.log, checkpoint_last.pt
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..compat.metric_direction import Metric
from ..core.position_scheme import POSITION_SCHEMES
from ..data.dictionary_file import NAME as DICTIONARY
from .grid import Run, key_of_training
from .option_words import Options, repetition
from .recipe import command
from .spec import Spec

TASK = "masked-lm"
METRIC = Metric("loss", more_is_better=False)
SCHEMES = ("bert-a", "bert-r", "tupe-a", "tupe-r", "none")
WARM_UP = 0.05  # of the updates
# As in examples/pretrain/tupe_tiny_books.sh: a small model on much text gains nothing by dropout.
OPTIONS: Options = {
    "task": "masked_lm",
    "criterion": "masked_lm",
    "mask-prob": 0.15,
    "sample-break-mode": "complete",
    "skip-invalid-size-inputs-valid-test": True,
    "embedding-normalize": True,
    "optimizer": "adam",
    "adam-betas": "(0.9, 0.98)",
    "adam-eps": 1e-6,
    "weight-decay": 0.01,
    "clip-norm": 1.0,
    "dropout": 0.0,
    "attention-dropout": 0.0,
    "lr-scheduler": "polynomial_decay",
    "no-epoch-checkpoints": True,
    "validate-interval": 1_000_000,  # epochs: by updates alone
    "save-interval": 1_000_000,
    "keep-interval-updates": 1,
    "log-format": "json",
    "log-interval": 50,
}


# Options that `--set` cannot give -> what decides them.
_DECIDED = {
    **{"position-scheme": "--schemes", "seed": "--seeds", "lr": "--lr", "arch": "--arch"},
    **{"max-update": "--updates", "total-num-update": "--updates", "max-epoch": "--updates"},
    **{"batch-size": "--batch-size", "max-positions": "--tokens", "tokens-per-sample": "--tokens"},
    **{"save-dir": "FOLDER", "log-file": "FOLDER"},
    **{"validate-interval-updates": "--validations", "save-interval-updates": "--validations"},
}
_OF_A_START = ("restore-file", "finetune-from-model")


class PretrainingError(ValueError):
    """A comparison cannot be what it is asked to be; the message names the option."""


@dataclass(frozen=True)
class Budget:
    """What all pre-trainings of a comparison have in common."""

    arch: str
    updates: int
    validations: int
    lr: float
    batch_size: int
    tokens: int
    """Of a sequence, and so the positions of the model."""

    def options(self) -> Options:
        every = -(-self.updates // self.validations)
        return {
            "arch": self.arch,
            "max-positions": self.tokens,
            "tokens-per-sample": self.tokens,
            "batch-size": self.batch_size,
            "lr": self.lr,
            "warmup-updates": round(WARM_UP * self.updates),
            "total-num-update": self.updates,
            "max-update": self.updates,
            "validate-interval-updates": every,
            "save-interval-updates": every,
        }


def pretraining_runs(
    data: Path,
    folder: Path,
    budget: Budget,
    *,
    schemes: tuple[str, ...] = SCHEMES,
    seeds: tuple[int, ...],
    more: Options,
) -> list[Run]:
    """All schemes of the first seed before the second seed of any.

    Args:
        data: the `data-bin` of a corpus.
        folder: where the runs are written.
        budget: of each.
        schemes: names of `POSITION_SCHEMES`.
        seeds: of each scheme.
        more: further options of fairseq-train, which count more.

    Raises:
        PretrainingError: there is no such scheme, or it is given twice, or no corpus is there; an
            option is decided elsewhere.
    """
    for option in more:
        if option in _DECIDED:
            raise PretrainingError(f"--set {option}: give {_DECIDED[option]} instead")
        if option in _OF_A_START:
            raise PretrainingError(f"--set {option}: all runs begin anew; leave it out")
    for scheme in schemes:
        if scheme not in POSITION_SCHEMES:
            raise PretrainingError(
                f"--schemes {scheme}: there is no such scheme; there are "
                f"{', '.join(POSITION_SCHEMES)}"
            )
    if problem := repetition(schemes):
        raise PretrainingError(f"--schemes: {problem}")
    if not (data / DICTIONARY).is_file():
        raise PretrainingError(
            f"{data} is no data of a corpus, it has no {DICTIONARY}: "
            "give the data-bin that `tupe data corpus` makes"
        )
    return [*_runs(data, folder, budget, schemes, seeds, more)]


def _runs(
    data: Path,
    folder: Path,
    budget: Budget,
    schemes: tuple[str, ...],
    seeds: tuple[int, ...],
    more: Options,
) -> Iterator[Run]:
    for seed in seeds:
        for scheme in schemes:
            own: Options = {"position-scheme": scheme, "seed": seed}
            options: Options = {**OPTIONS, **budget.options(), **more, **own}
            place = folder / scheme / f"seed{seed}"
            yield Run(
                task=TASK,
                model=scheme,
                strategy=budget.arch,
                lr=budget.lr,
                seed=seed,
                setting={},
                folder=place,
                command=tuple(command(data, None, place, options)),
                configuration=options,
                metric=METRIC,
                key=key_of_training(options, data, None),
                data=data,
            )


def pretraining_spec(
    runs: list[Run], folder: Path, *, jobs: int | None, options: Options, retries: int = 2
) -> Spec:
    """How the runs are to be worked through."""
    seeds = tuple(dict.fromkeys(run.seed for run in runs))
    return Spec(
        tasks=(TASK,),
        data=runs[0].data,
        models={},
        strategies=(),
        lr=(runs[0].lr,),
        lr_of_all=True,
        seeds=seeds,
        search_seeds=seeds,
        folder=folder,
        keep="best",
        jobs=jobs,
        retries=retries,
        most_runs=len(runs),
        options=options,
        task={},
        slurm=None,
    )
