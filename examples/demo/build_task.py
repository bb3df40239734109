"""Make a classification task from the corpus: does this sentence run forward or backward?

Every sentence appears twice, as written and with its words in reverse order, in training as in
development. So the two classes are of equal size, and a model that sees a sentence as a bag of
words is right exactly half the time: it must give one answer to both.

    python build_task.py TEXT.bpe OUT_PREFIX

writes `OUT_PREFIX.input0` and `OUT_PREFIX.label`, one example a line. The text is in BPE units.
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


def examples(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Both readings of every sentence that fits, each sentence once."""
    met = set()
    for line in lines:
        words = without_end_mark(words_of(line))
        units = sum(len(word) for word in words)
        forward, backward = (
            " ".join(unit for word in order for unit in word) for order in (words, words[::-1])
        )
        if len(words) < FEWEST_WORDS or units > MOST_UNITS or forward == backward:
            continue
        if forward not in met:
            met.add(forward)
            yield forward, FORWARD
            yield backward, BACKWARD


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, help="sentences in BPE units, one a line")
    parser.add_argument("prefix", type=Path, help="write PREFIX.input0 and PREFIX.label")
    args = parser.parse_args()

    with open(args.text, encoding="utf-8") as lines:
        task = list(examples(lines))
    if not task:
        print(f"build_task: no sentence of {FEWEST_WORDS} words in {args.text}", file=sys.stderr)
        return 1
    args.prefix.parent.mkdir(parents=True, exist_ok=True)
    for suffix, column in ((".input0", 0), (".label", 1)):
        text = "".join(f"{example[column]}\n" for example in task)
        args.prefix.with_name(args.prefix.name + suffix).write_text(text, encoding="utf-8")
    print(f"{args.prefix.name}: {len(task)} examples of {len(task) // 2} sentences")
    return 0


if __name__ == "__main__":
    sys.exit(main())
