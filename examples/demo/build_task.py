"""Make a classification task from the corpus: does this sentence run forward or backward?

Every sentence appears twice, as written and with its words in reverse order, in training as in
development. So the two classes are of equal size, and a model that sees a sentence as a bag of
words is right exactly half the time: it must give one answer to both.

    python build_task.py TRAIN.bpe VALID.bpe OUT          # run.sh does

writes `OUT/{train,valid}.input0` and `.label`, one example a line, out of text in BPE units.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

FORWARD, BACKWARD = "forward", "backward"
FEWEST_WORDS = 5
MOST_UNITS = 40  # longer sentences make batches slow and the demo no better
CONTINUED = "@@"
WORD = re.compile(r"\w")


def words_of(line: str) -> list[list[str]]:
    """`re@@ read it` -> `[["re@@", "read"], ["it"]]`: a word stays whole when it moves."""
    words: list[list[str]] = [[]]
    for unit in line.split():
        words[-1].append(unit)
        if not unit.endswith(CONTINUED):
            words.append([])
    return [word for word in words if word]


def without_end_mark(words: list[list[str]]) -> list[list[str]]:
    """Without closing punctuation: a full stop in the first place would give the answer away."""
    end = len(words)
    while end and not WORD.search(words[end - 1][0]):
        end -= 1
    return words[:end]


def examples(lines: Iterable[str], *, met: set[str]) -> Iterator[tuple[str, str]]:
    """Both readings of every sentence that fits and is not in `met`, which then has it."""
    for line in lines:
        words = without_end_mark(words_of(line))
        units = sum(len(word) for word in words)
        forward, backward = (
            " ".join(unit for word in order for unit in word) for order in (words, words[::-1])
        )
        if len(words) < FEWEST_WORDS or units > MOST_UNITS or forward == backward:
            continue
        if forward not in met:
            met.update((forward, backward))
            yield forward, FORWARD
            yield backward, BACKWARD


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path, help="sentences to learn from, one a line")
    parser.add_argument("valid", type=Path, help="the development set's, of other documents")
    parser.add_argument("out", type=Path, help="folder to write into")
    args = parser.parse_args()

    args.out.mkdir(parents=True, exist_ok=True)
    met: set[str] = set()  # by both: what training has seen is no test
    for split, source in (("train", args.train), ("valid", args.valid)):
        with open(source, encoding="utf-8") as lines:
            task = list(examples(lines, met=met))
        if not task:
            print(f"build_task: no sentence that fits in {source}", file=sys.stderr)
            return 1
        for suffix, column in (("input0", 0), ("label", 1)):
            text = "".join(f"{example[column]}\n" for example in task)
            (args.out / f"{split}.{suffix}").write_text(text, encoding="utf-8")
        print(f"{split}: {len(task)} examples of {len(task) // 2} sentences")
    return 0


if __name__ == "__main__":
    sys.exit(main())
