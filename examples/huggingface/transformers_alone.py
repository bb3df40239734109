"""Predictions of an exported classifier by transformers alone, against those of `tupe predict`.

    python examples/huggingface/transformers_alone.py EXPORTED valid.tsv valid.input0 [valid.input1]

valid.tsv is what `tupe predict` wrote, the others hold the raw sentences of its rows.  This program
cannot import fairseq or tupe_plugin, and fails if a label differs, or a probability by over 1e-5.
round_trip.sh runs it.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

sys.modules["fairseq"] = sys.modules["tupe_plugin"] = None  # type: ignore[assignment]

import torch  # noqa: E402
from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: E402

BATCH_SIZE = 32
TOLERANCE = 1e-5
COLUMN = "probability_"


@torch.no_grad()
def predict(folder: Path, rows: list[tuple[str, ...]]) -> tuple[list[str], torch.Tensor]:
    """Names of the classes, and probabilities `(rows, classes)`."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    limit = tokenizer.model_max_length
    found = []
    for start in range(0, len(rows), BATCH_SIZE):
        encoded = [
            # As fairseq shortens: what is too long is cut at its end, whatever stands there.
            {name: values[:limit] for name, values in tokenizer(*row, verbose=False).items()}
            for row in rows[start : start + BATCH_SIZE]
        ]
        batch = tokenizer.pad(encoded, return_tensors="pt")
        found.append(model(**batch).logits.softmax(-1))
    return [model.config.id2label[place] for place in range(model.num_labels)], torch.cat(found)


def main(arguments: list[str]) -> None:
    folder, table, *texts = map(Path, arguments)
    with open(table, encoding="utf-8", newline="") as lines:
        predicted = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    columns = [text.read_text("utf-8").removesuffix("\n").split("\n") for text in texts]
    classes, probabilities = predict(folder, list(zip(*columns, strict=True)))
    expected = torch.tensor([[float(row[COLUMN + name]) for name in classes] for row in predicted])
    labels = [classes[place] for place in probabilities.argmax(1).tolist()]
    pairs = zip(labels, predicted, strict=True)
    same = sum(label == row["prediction"] for label, row in pairs)
    difference = (probabilities - expected).abs().max().item()
    print(
        f"transformers alone: {same} of {len(labels)} labels are those of tupe predict, and the "
        f"probabilities differ by {difference:.1e} at most"
    )
    if same < len(labels) or difference > TOLERANCE:
        sys.exit("the round trip changed predictions")


if __name__ == "__main__":
    main(sys.argv[1:])
