"""Print the demo's table, from the logs of its trainings and the labels of its task.

python report.py LABELS NAME=FOLDER...          # run.sh does
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

FIRST, LAST = 0, -1


def records(log: Path, tag: str) -> list[dict[str, str]]:
    """The metrics that `fairseq-train --log-format json` wrote under a tag, in order."""
    with open(log, encoding="utf-8") as lines:
        return [
            json.loads(body) for _, sep, body in (x.partition(f"| {tag} | ") for x in lines) if sep
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path, help="gold labels of the task's dev set")
    parser.add_argument("models", nargs="+", metavar="NAME=FOLDER", help="a row of the table each")
    args = parser.parse_args()

    labels = args.labels.read_text(encoding="utf-8").split()
    majority = 100 * max(Counter(labels).values()) / len(labels)
    rows = []
    for model in args.models:
        name, _, folder = model.partition("=")
        pretrain, finetune = (
            Path(folder) / kind / "train.log" for kind in ("pretrain", "finetune")
        )
        start = records(pretrain, "train_inner")[FIRST]
        end = records(pretrain, "valid")[LAST]
        task = records(finetune, "valid")[LAST]
        rows.append(
            (
                name,
                f"{float(start['ppl']):.0f}",
                f"{float(end['valid_ppl']):.0f}",
                f"{float(task['valid_accuracy']):.1f} %",
            )
        )
    updates = start["num_updates"]
    rows.append(("majority class", "", "", f"{majority:.1f} %"))
    print(f"{'':16}{'masked-LM perplexity':^30}{'forward or backward?':>24}")
    print(f"{'':16}{f'first {updates} updates':>18}{'held out, end':>16}{'accuracy on dev':>20}")
    for name, start_ppl, end_ppl, accuracy in rows:
        print(f"{name:16}{start_ppl:>18}{end_ppl:>16}{accuracy:>20}")
    print(f"({len(labels)} dev sentences, of documents that no training has seen)")


if __name__ == "__main__":
    main()
