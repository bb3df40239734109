"""Run a fine-tuned checkpoint over the splits of its data: scores of every row, in its order."""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checkpoint.errors import in_one_line
from ..checkpoint.upgraded import read_upgraded
from ..compat.metric_direction import Metric
from ..core.class_labels import labels_of


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
    task = state["cfg"].task
    if "num_classes" not in task or "classification_head_name" not in task:
        raise OtherTaskError(
            f"{path} is a checkpoint of --task {task._name}: predictions need one that was "
            "fine-tuned with --task sentence_prediction"
        )
    return FineTuned(path, state)


class Predictor:
    """A fine-tuned model with a folder of data.

    Args:
        checkpoint: what `read_fine_tuned` gave.
        data: a folder with `input0/`, `label/` ..., as fairseq-preprocess makes it.
        device: where the model runs.
        half: in half precision.

    Raises:
        PredictionError: model and data do not belong together.
    """

    def __init__(
        self, checkpoint: FineTuned, data: Path, *, device: torch.device, half: bool
    ) -> None:
        from fairseq import checkpoint_utils, tasks

        self.data = data
        self._device = device
        task_cfg = checkpoint.cfg.task
        self.is_regression = bool(task_cfg.regression_target)
        self._head = str(task_cfg.classification_head_name)
        self._check_files()
        task_cfg.data = str(data)
        task_cfg.no_shuffle = True
        # Every row gets its prediction, and the same one each time.
        task_cfg.shorten_method = "truncate"
        task_cfg.shorten_data_split_list = ""
        with self._readable("the dictionaries"):
            self._task = tasks.setup_task(task_cfg)
        # Class k is the k-th of them.
        self.labels = () if self.is_regression else tuple(labels_of(self._task.label_dictionary))
        self._check_classes(checkpoint)
        try:
            models, _, _ = checkpoint_utils.load_model_ensemble_and_task(
                [str(checkpoint.path)], task=self._task, state=checkpoint.state
            )
        except (RuntimeError, ValueError, KeyError) as error:
            raise PredictionError(
                f"{checkpoint.path} does not fit {data}: {in_one_line(error)}"
            ) from error
        model = models[0].to(device)
        self._model = (model.half() if half else model).eval()

    def splits(self) -> list[str]:
        """The dev and test sets that are there, dev first, in order of their numbers."""
        return list_splits(self.data)

    def indices(self, split: str) -> list[str] | None:
        """The names of a split's rows, where the data has them."""
        path = self.data / "index" / f"{split}.index"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else None

    def predict(self, split: str, *, batch_size: int) -> Scores:
        """Scores of all rows.

        Raises:
            PredictionError: the data cannot be read, or the outputs are not finite.
        """
        from fairseq import utils
        from tqdm import tqdm

        for index in sorted(self.data.glob(f"*/{split}.idx")):
            if _is_cut_off(index):
                raise PredictionError(f"{index} is cut off: the split {split} cannot be read")
        with self._readable(f"the split {split}"):
            dataset = self._task.load_dataset(split)
            lengths = np.array([dataset.num_tokens(row) for row in range(len(dataset))])
        if len(lengths) == 0:
            raise PredictionError(f"{self.data}: the split {split} is empty")
        # Sentences of a length together, because a batch is as long as its longest one.
        order = np.argsort(lengths, kind="stable")
        width = 1 if self.is_regression else len(self.labels)
        outputs = np.full((len(order), width), np.nan)
        targets = None
        batches = range(0, len(order), batch_size)
        for start in tqdm(batches, desc=split, disable=None, leave=False):
            with self._readable(f"the split {split}"):
                rows = [dataset[int(row)] for row in order[start : start + batch_size]]
                batch = dataset.collater(rows)
            ids = batch["id"].numpy()  # places in the data, whatever the order of the batch
            if self._device.type == "cuda":
                batch = utils.move_to_cuda(batch, self._device)
            outputs[ids] = self._outputs(batch["net_input"])
            if "target" in batch:
                targets = np.full(len(order), np.nan) if targets is None else targets
                targets[ids] = batch["target"].view(-1).cpu().numpy()
        if not np.isfinite(outputs).all():
            bad = int((~np.isfinite(outputs)).any(axis=1).sum())
            raise PredictionError(
                f"{split}: {bad} of {len(outputs)} predictions are not finite; try without --fp16"
            )
        if targets is not None and not self.is_regression:
            self._check_targets(targets, split)
        return Scores(outputs, targets)

    @torch.no_grad()
    def _outputs(self, net_input: dict[str, Any]) -> np.ndarray:
        logits, _ = self._model(
            **net_input, features_only=True, classification_head_name=self._head
        )
        logits = logits.float()
        scores = logits if self.is_regression else logits.softmax(dim=-1)
        return scores.cpu().double().numpy()

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
        weight = checkpoint.state["model"].get(f"classification_heads.{self._head}.out_proj.weight")
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

    @contextlib.contextmanager
    def _readable(self, what: str) -> Iterator[None]:
        try:
            yield
        except (AssertionError, EOFError, IndexError, OSError, RuntimeError, ValueError) as error:
            raise PredictionError(
                f"{self.data}: {what} cannot be read ({in_one_line(error)}); is the data whole?"
            ) from error


def _is_cut_off(index: Path) -> bool:
    """Whether an index of fairseq's mmap format lacks its end (fairseq says so twice, at length).

    It is a magic word (9 bytes), version (8), type (1), number of rows (8), and for each row its
    length (4) and its place (8).
    """
    with open(index, "rb") as file:
        header = file.read(26)
    if not b"MMIDIDX\0\0".startswith(header[:9]):
        return False
    return len(header) < 26 or index.stat().st_size < 26 + 12 * struct.unpack("<Q", header[18:])[0]


def list_splits(data: Path) -> list[str]:
    """The dev and test sets of a folder of data, dev first, in order of their numbers."""
    found = {path.stem for path in (data / "input0").glob("*.idx")}
    numbered = [f"{kind}{number}" for kind in ("valid", "test") for number in ("", *range(1, 100))]
    return [split for split in numbered if split in found]
