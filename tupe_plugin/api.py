"""`TupeModel`: a trained model on raw sentences, in Python.

    model = TupeModel.from_pretrained("runs/MRPC")
    model.predict([("He left.", "He went away."), ...])     label names and probabilities
    model.encode(["A sentence.", ...])                      features
    model.fill_mask("The <mask> of the story.")             words, of a pre-trained model

A sentence goes through the steps that the training data went through. Rows in, one result for each
row out, in the order of the rows, whatever the batches; a lone string is one row.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .core.bounds import BATCH_SIZE, Whole
from .core.dictionary_symbols import MASK, PADDING
from .inference import ROWS_A_BATCH
from .inference.arguments import usable_device, whole_number
from .inference.length_batches import batches_by_length
from .inference.loaded_model import LoadedModel, load
from .inference.pooling import POOLINGS, check_pooling
from .inference.predictor import Predictor
from .inference.text_errors import RowError, TextError
from .inference.text_rows import Row, RowEncoder, checked_rows
from .registration import require_fairseq, use_with_fairseq


class Prediction(NamedTuple):
    """What a classifier says of a row."""

    label: str
    """The most probable class."""
    probabilities: dict[str, float]
    """Of each class."""


class Filling(NamedTuple):
    """What may stand in the place of `<mask>`."""

    unit: str
    """A unit of the dictionary: a word, or a part of one (`@@` goes on, `##` went before)."""
    probability: float


class TupeModel:
    """A model of `--arch tupe_*`, or fairseq's RoBERTa, with what its text goes through.

    `from_pretrained` makes one.
    """

    def __init__(self, loaded: LoadedModel, *, device: torch.device) -> None:
        self.path = loaded.path
        """The checkpoint, or the folder of transformers."""
        self.module = loaded.module
        """fairseq's model, a `torch.nn.Module`."""
        self.device = device
        self.arch = loaded.arch
        """By its name on the command line."""
        self.data = loaded.data
        """The folder of its dictionary."""
        self._loaded = loaded
        limits = (loaded.task.max_positions(), loaded.module.max_positions())
        self.max_positions: int = min(int(limit) for limit in limits if limit is not None)
        """Tokens; what is longer is cut at its end."""
        self._encoder = RowEncoder(
            loaded.task,
            loaded.treatment,
            max_positions=self.max_positions,
            separators=loaded.separators,
        )
        self._padding: int = loaded.task.source_dictionary.pad()

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        data: str | Path | None = None,
        device: str | torch.device | None = None,
        half: bool = False,
    ) -> TupeModel:
        """Load a model.

        Args:
            path: a checkpoint; a run's folder, of which the best checkpoint is taken; a folder
                that `tupe import` made; or one that `tupe import` could read: what `tupe export`
                or `save_pretrained` of transformers wrote.
            data: the folder of data that it was trained on, where that is no longer at its place;
                or the `data-bin` of its pre-training, where the data of a fine-tuned model does not
                say what its text went through.
            device: default: a GPU if there is one.
            half: in half precision.

        Raises:
            ValueError: the checkpoint cannot be used, or something that belongs to it is missing;
                one line says what.
            ModuleNotFoundError: fairseq is not installed.
        """
        require_fairseq()
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        device = usable_device(device)
        folder = None if data is None else Path(data)
        with _warnings_only("fairseq", "tupe_plugin.models"):
            use_with_fairseq()
            return cls(load(Path(path), data=folder, device=device, half=half), device=device)

    def __repr__(self) -> str:
        predictor = self._loaded.predictor
        labels = f", labels={', '.join(predictor.labels)}" if predictor and predictor.labels else ""
        return f"TupeModel('{self.path}', --arch {self.arch}{labels}, device={self.device})"

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the model's outputs; empty for regression."""
        return self._predictor().labels

    @property
    def is_regression(self) -> bool:
        return self._predictor().is_regression

    def tokenize(self, sentence: str) -> list[str]:
        """The units of a sentence; those that the dictionary lacks are `<unk>` to the model."""
        if not isinstance(sentence, str):
            raise TextError(f"give a sentence, not {sentence!r:.80}")
        return self._encoder.units(sentence)

    def token_ids(self, rows: str | Iterable[Row]) -> list[Tensor]:
        """What the model reads for each row: the ids that the same row has in its data."""
        return self._encoder(checked_rows(rows))

    def tokens(self, rows: str | Iterable[Row]) -> list[list[str]]:
        """The same by name: what `encode` gives the features of, one after the other."""
        return self.names(self.token_ids(rows))

    def names(self, ids: Iterable[Tensor]) -> list[list[str]]:
        """The units of what `token_ids` gave."""
        return [[*map(self._encoder.symbol, row.tolist())] for row in ids]

    def encode(
        self,
        rows: str | Iterable[Row],
        *,
        pooling: str | None = "mean",
        batch_size: int = ROWS_A_BATCH,
    ) -> Tensor | list[Tensor]:
        """Features of the last layer, in float32, on the CPU.

        Args:
            rows: sentences, or pairs of sentences.
            pooling: `mean` over the tokens of a row, `cls` for its first token, or None: by token.
            batch_size: rows; those of a length are taken together.

        Returns:
            `(rows, embed)`; by token a list of `(tokens, embed)`, `<s>` and `</s>` included.

        Raises:
            TextError: a row is no text, or an argument cannot be.
        """
        check_pooling(pooling)
        whole_number("batch_size", batch_size, BATCH_SIZE)
        return self.encode_ids(self.token_ids(rows), pooling=pooling, batch_size=batch_size)

    @torch.no_grad()
    def encode_ids(
        self, ids: Sequence[Tensor], *, pooling: str | None = "mean", batch_size: int = ROWS_A_BATCH
    ) -> Tensor | list[Tensor]:
        """The same of what `token_ids` gave."""
        check_pooling(pooling)
        found: dict[int, Tensor] = {}
        for places, tokens in self._batches(ids, batch_size):
            features, _ = self.module(src_tokens=tokens, features_only=True)
            features = _finite(features.float())
            if pooling is not None:
                features = POOLINGS[pooling](features, tokens.eq(self._padding))
            for place, one in zip(places, features.cpu(), strict=True):
                found[place] = one if pooling is not None else one[: len(ids[place])].clone()
        in_order = [found[place] for place in range(len(ids))]
        if pooling is None:
            return in_order
        width = int(self.module.args.encoder_embed_dim)
        return torch.stack(in_order) if in_order else torch.empty(0, width)

    def predict(
        self, rows: str | Iterable[Row], *, batch_size: int = ROWS_A_BATCH
    ) -> list[Prediction] | list[float]:
        """Classes of rows, or values, of a model fine-tuned for sentence prediction.

        They are those of `tupe predict`: the values of GLUE's STS-B go up to 5.

        Raises:
            TextError: the model is not fine-tuned; a row is no text, or has another number of
                sentences than the rows that the model was trained on.
        """
        outputs, labels = self.scores(rows, batch_size=batch_size), self.labels
        if self.is_regression:
            return [float(value) for value in outputs[:, 0]]
        return [
            Prediction(labels[row.argmax()], dict(zip(labels, row.tolist(), strict=True)))
            for row in outputs
        ]

    def scores(self, rows: str | Iterable[Row], *, batch_size: int = ROWS_A_BATCH) -> np.ndarray:
        """The same as an array: probabilities `(rows, classes)`, or values `(rows, 1)`."""
        whole_number("batch_size", batch_size, BATCH_SIZE)
        predictor, checked = self._predictor(), checked_rows(rows)
        self._check_pairs(checked)
        ids = self._encoder(checked)
        outputs = np.empty((len(ids), 1 if predictor.is_regression else len(predictor.labels)))
        for places, tokens in self._batches(ids, batch_size):
            lengths = tokens.ne(self._padding).sum(1)
            outputs[places] = predictor.outputs({"src_tokens": tokens, "src_lengths": lengths})
        _finite(torch.from_numpy(outputs))
        return outputs * predictor.label_scale

    @torch.no_grad()
    def fill_mask(
        self, sentences: str | Iterable[Row], *, top: int = 5, batch_size: int = ROWS_A_BATCH
    ) -> list[list[Filling]]:
        """What may stand for `<mask>`, most probable first, of a pre-trained model.

        Args:
            sentences: each with one `<mask>`.
            top: how many.
            batch_size: rows.

        Raises:
            TextError: the model is fine-tuned, or has no masked-LM head; a sentence has no
                `<mask>`, several, or one beyond the longest sequence of the model.
        """
        dictionary = self._loaded.task.source_dictionary
        if self._loaded.predictor is not None:
            raise TextError(
                f"{self.path} was fine-tuned for sentence prediction and fills no {MASK}: give "
                "the checkpoint of its pre-training"
            )
        if not self._loaded.has_lm_head:
            raise TextError(
                f"{self.path} has no masked-LM head (its source had none), so it cannot fill a "
                f"{MASK}: import a model that was saved with one, such as BertForMaskedLM, or "
                "pre-train this one with --task masked_lm"
            )
        fillers = [symbol.startswith(PADDING) for symbol in dictionary.symbols]
        listed = [unit for unit, is_filler in enumerate(fillers) if not is_filler]
        top = whole_number("top", top, Whole(1, len(listed)))
        whole_number("batch_size", batch_size, BATCH_SIZE)
        ids, mask = self._encoder.masked(checked_rows(sentences)), dictionary.index(MASK)
        found: list[list[Filling]] = [[] for _ in ids]
        for places, tokens in self._batches(ids, batch_size):
            logits, _ = self.module(src_tokens=tokens, masked_tokens=tokens.eq(mask))
            best = _finite(logits.float()).softmax(-1)[:, listed].topk(top)
            for place, values, units in zip(places, *(x.tolist() for x in best), strict=True):
                found[place] = [
                    Filling(self._encoder.symbol(listed[unit]), value)
                    for unit, value in zip(units, values, strict=True)
                ]
        return found

    def _batches(
        self, ids: Sequence[Tensor], batch_size: int
    ) -> Iterator[tuple[list[int], Tensor]]:
        batch_size = whole_number("batch_size", batch_size, BATCH_SIZE)
        self.module.eval()  # it is public, and may have been trained on
        for places, tokens in batches_by_length(ids, size=batch_size, padding=self._padding):
            yield places, tokens.to(self.device)

    def _predictor(self) -> Predictor:
        if self._loaded.predictor is None:
            raise TextError(
                f"{self.path} is a checkpoint of pre-training: predictions need one that was "
                "fine-tuned with --task sentence_prediction"
            )
        return self._loaded.predictor

    def _check_pairs(self, rows: Sequence[tuple[str, ...]]) -> None:
        if not any((self.data / "input0").glob("*.idx")):
            return  # imported: nothing says what it was trained on
        pairs = (self.data / "input1").is_dir()
        for number, row in enumerate(rows, start=1):
            if len(row) != 1 + pairs:
                found, wanted = "a pair", "single sentences"
                if pairs:
                    found, wanted = "one sentence", "pairs of sentences"
                raise RowError(number, f"it is {found}, and {self.path} was trained on {wanted}")


@contextmanager
def _warnings_only(*names: str) -> Iterator[None]:
    """Of these loggers: fairseq tells at length how it loads, and turns INFO on for every one."""
    before = {name: logging.getLogger(name).level for name in names}
    for name, level in before.items():
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _finite(outputs: Tensor) -> Tensor:
    if not outputs.isfinite().all():
        raise TextError("the model's outputs are not finite: try without half precision")
    return outputs
