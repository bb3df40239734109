"""Run a fine-tuned checkpoint over the splits of its data: scores of every row, in its order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checkpoint.formats.our_names import HEADS
from ..checkpoint.upgraded import read_upgraded
from ..compat.metric_direction import Metric
from ..core.class_labels import labels_of
from ..data.glue_tasks import load_tasks, task_of_data
from ..data.label_scale import label_scale
from .model_on_data import batches, build_model, load_split, set_up_task


class PredictionError(ValueError):
    """A checkpoint or its data cannot be used; the message names it and says why."""


class OtherTaskError(PredictionError):
    """A checkpoint of another task than sentence_prediction."""


@dataclass(frozen=True)
class FineTuned:
    """What a checkpoint of `--task sentence_prediction` says of itself, and its parameters."""

    path: Path
    state: dict[str, Any]

    @property
    def cfg(self) -> Any:
        return self.state["cfg"]

    @property
    def data(self) -> Path:
        """The data that it was trained on."""
        return Path(self.cfg.task.data)

    @property
    def task(self) -> str:
        """Its name, by the data."""
        return task_of_data(self.data)

    def check_data(self, data: Path) -> None:
        """Refuse the data of another task of GLUE: its labels may be of the same names.

        Raises:
            PredictionError: it is.
        """
        other = task_of_data(data)
        if other != self.task and {other, self.task} <= load_tasks().keys():
            raise PredictionError(
                f"{self.path} was trained on {self.task}, and {data} is of {other}: give the data "
                f"of {self.task}"
            )

    @property
    def metric(self) -> Metric:
        """What its best checkpoint was chosen by."""
        return Metric.of_job(self.cfg.checkpoint)

    @property
    def goodness(self) -> float:
        """Of its metric at its last validation; NaN if there is none."""
        value = self.state.get("extra_state", {}).get("val_loss")
        if not isinstance(value, (int, float)):
            return math.nan
        return self.metric.goodness(float(value))


@dataclass(frozen=True)
class Scores:
    """The model's outputs for one split, in the order of the data.

    Classification: probabilities `(rows, classes)` and true classes `(rows,)`; regression: values
    `(rows, 1)` and true values `(rows,)`. No truth where labels are hidden.
    """

    outputs: np.ndarray
    targets: np.ndarray | None


def read_fine_tuned(path: Path) -> FineTuned:
    """Read safely: no code in the file is run.

    Raises:
        CheckpointError: there is no such file, or it cannot be used.
        PredictionError: its model is not fine-tuned.
    """
    state = read_upgraded(path)
    if not is_fine_tuned(state):
        raise OtherTaskError(
            f"{path} is a checkpoint of --task {state['cfg'].task._name}: predictions need one "
            "that was fine-tuned with --task sentence_prediction"
        )
    return FineTuned(path, state)


def is_fine_tuned(state: dict[str, Any]) -> bool:
    """Whether a checkpoint is of `--task sentence_prediction`."""
    task = state["cfg"].task
    return "num_classes" in task and "classification_head_name" in task


class Predictor:
    """A fine-tuned model with a folder of data.

    Args:
        checkpoint: what `read_fine_tuned` gave.
        data: a folder with `input0/`, `label/` ..., as fairseq-preprocess makes it.
        device: where the model runs.
        half: in half precision.
        task: what the user calls it; None: what the checkpoint was trained on.

    Raises:
        DataError: model and data do not belong together.
        PredictionError: the model was fine-tuned on other data, or not at all.
    """

    def __init__(
        self,
        checkpoint: FineTuned,
        data: Path,
        *,
        device: torch.device,
        half: bool,
        task: str | None = None,
    ) -> None:
        self.data = data
        self._device = device
        task_cfg = checkpoint.cfg.task
        self.is_regression = bool(task_cfg.regression_target)
        self.label_scale = 1.0
        """What values are multiplied by, to be those of the official files."""
        if self.is_regression:
            self.label_scale = label_scale(task or checkpoint.task, data, checkpoint.data)
        self._head = str(task_cfg.classification_head_name)
        self._check_files()
        task_cfg.no_shuffle = True
        # Every row gets its prediction, and the same one each time.
        task_cfg.shorten_method = "truncate"
        task_cfg.shorten_data_split_list = ""
        self.task = set_up_task(checkpoint.path, checkpoint.cfg, data)
        # Class k is the k-th of them.
        self.labels = () if self.is_regression else tuple(labels_of(self.task.label_dictionary))
        self._check_classes(checkpoint)
        self.model = build_model(
            checkpoint.path, checkpoint.state, self.task, device=device, half=half
        )

    def splits(self) -> list[str]:
        """The dev and test sets that are there, dev first, in order of their numbers."""
        return list_splits(self.data)

    def indices(self, split: str) -> list[str] | None:
        """The names of a split's rows, where the data has them."""
        path = self.data / "index" / f"{split}.index"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else None

    @torch.no_grad()
    def outputs(self, net_input: dict[str, Any]) -> np.ndarray:
        """Scores of one batch: `(rows, classes)`, or `(rows, 1)` for regression."""
        logits, _ = self.model(**net_input, features_only=True, classification_head_name=self._head)
        logits = logits.float()
        scores = logits if self.is_regression else logits.softmax(dim=-1)
        return scores.cpu().double().numpy()

    def predict(self, split: str, *, batch_size: int) -> Scores:
        """Scores of all rows.

        Raises:
            DataError: the data cannot be read.
            PredictionError: the outputs are not finite, or a label is unknown.
        """
        from fairseq.data import SortDataset
        from tqdm import tqdm

        dataset = load_split(self.task, split)
        rows = len(dataset)
        # Sentences of a length together, because a batch is as long as its longest one.
        lengths = np.array([dataset.num_tokens(row) for row in range(rows)])
        by_length = SortDataset(dataset, [lengths])
        outputs = np.full((rows, 1 if self.is_regression else len(self.labels)), np.nan)
        targets = None
        all_batches = batches(
            self.task, split, by_length, device=self._device, max_sentences=batch_size
        )
        total = math.ceil(rows / batch_size)
        for batch in tqdm(all_batches, desc=split, total=total, disable=None, leave=False):
            ids = batch["id"].cpu().numpy()  # places in the data, whatever the order of the batch
            outputs[ids] = self.outputs(batch["net_input"])
            if "target" in batch:
                targets = np.full(rows, np.nan) if targets is None else targets
                targets[ids] = batch["target"].view(-1).cpu().numpy()
        if not np.isfinite(outputs).all():
            bad = int((~np.isfinite(outputs)).any(axis=1).sum())
            raise PredictionError(
                f"{split}: {bad} of {len(outputs)} predictions are not finite; try without --fp16"
            )
        if targets is not None and not self.is_regression:
            self._check_targets(targets, split)
        return Scores(outputs, targets)

    def _check_files(self) -> None:
        wanted = [self.data / "input0" / "dict.txt"]
        if not self.is_regression:
            wanted.append(self.data / "label" / "dict.txt")
        for path in wanted:
            if not path.is_file():
                raise PredictionError(
                    f"{self.data} is no data for sentence prediction: there is no {path}"
                )

    def _check_classes(self, checkpoint: FineTuned) -> None:
        weight = checkpoint.state["model"].get(f"{HEADS}{self._head}.out_proj.weight")
        if weight is None:
            raise PredictionError(
                f"{checkpoint.path} has no classification head {self._head!r}: it is not fine-tuned"
            )
        wanted = 1 if self.is_regression else len(self.labels)
        if len(weight) != wanted:
            what = "a regression" if self.is_regression else f"the labels {', '.join(self.labels)}"
            raise PredictionError(
                f"{checkpoint.path} has {len(weight)} outputs, {self.data} is of {what}: "
                "give the data that it was trained on"
            )

    def _check_targets(self, targets: np.ndarray, split: str) -> None:
        unknown = np.flatnonzero((targets < 0) | (targets >= len(self.labels)))
        if len(unknown):
            raise PredictionError(
                f"{self.data}: row {unknown[0]} of {split} has a label that label/dict.txt lacks"
            )


def list_splits(data: Path) -> list[str]:
    """The dev and test sets of a folder of data, dev first, in order of their numbers."""
    found = {path.stem for path in (data / "input0").glob("*.idx")}
    numbered = [f"{kind}{number}" for kind in ("valid", "test") for number in ("", *range(1, 100))]
    return [split for split in numbered if split in found]
