"""The table of docs/matrix.md from what scripts/fairseq_tests.sh has left: passed, failed, cause.

A failure without a cause in `CAUSES` is listed as such, and the program ends with status 1.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

HEADING = "## fairseq's own tests"


@dataclass(frozen=True)
class Cause:
    """Why tests fail that no patch of fairseq can mend."""

    tests: str
    """A pattern for their names, from the first character on."""
    message: str
    """A pattern for something in the error."""
    says: str


CAUSES = (
    Cause(
        "test_multihead_attention.py::test_xformers_", "ImportError", "xformers is not installed"
    ),
    Cause(
        "test_multihead_attention.py::test_mask_for_xformers",
        "only supports boolean masks",
        "a mask of xformers in a form that torch >= 2 refuses",
    ),
    Cause(
        r"speech/.*_checkpoint|speech/.*test_waitk_checkpoint|test_hf_hub.py",
        "URLError|LocalEntryNotFoundError|ConnectError|ConnectionError|MaxRetryError",
        "downloads a published model",
    ),
    Cause(".*test_file_io_async", "False is not true", "iopath is not installed"),
    Cause(
        ".*test_transformer_xl_bptt_lm",
        "configuration_transfo_xl|TransfoXL",
        "transformers has dropped Transformer-XL",
    ),
    Cause(
        ".*test_multilingual_translation_latent_depth",
        "Nan/Inf|StopIteration",
        "fairseq's example latent_depth trains a parameter that it has not initialised",
    ),
    Cause(
        ".*test_lightconv_lm",
        "none is left: give --tokens-per-sample",
        "its text is random, and may be one block that is too long for the model: we refuse to "
        "evaluate nothing, of which fairseq-eval-lm says `perplexity 1`",
    ),
)


@dataclass(frozen=True)
class Run:
    """One Python and one build of fairseq."""

    python: str
    torch: str
    build: str
    passed: int
    skipped: dict[str, int]
    """Reason -> tests."""
    failed: dict[str, str]
    """Test -> error."""


def read_run(results: Path) -> Run:
    versions = results.with_suffix(".versions").read_text().split()
    passed, skipped, failed = 0, defaultdict(int), {}
    for case in ElementTree.parse(results).iter("testcase"):
        for kind, text in _outcome(case):
            if kind == "skipped":
                skipped[text.splitlines()[0] if text else ""] += 1
            elif kind == "passed":
                passed += 1
            else:
                failed[_name(case)] = text
    _, build = results.stem.rsplit("-", 1)
    return Run(*versions, build, passed, dict(skipped), failed)


def _outcome(case: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """A case with several failing subtests, or a failing tear-down, has several entries."""
    found = [child for child in case if child.tag in ("failure", "error", "skipped")]
    if not found:
        yield "passed", ""
    elif all(child.tag == "skipped" for child in found):
        yield "skipped", found[0].get("message") or ""
    else:
        yield "failed", "\n".join(f"{child.get('message')}\n{child.text}" for child in found)


def _name(case: ElementTree.Element) -> str:
    """`test_binaries.py::TestTranslation::test_lstm`, without `tests/` in front."""
    path, _, owner = (case.get("classname") or "").partition(".Test")
    name = case.get("name") or ""
    if not path:  # a module that could not be imported
        return name.removeprefix("tests.").replace(".", "/") + ".py"
    file = path.removeprefix("tests.").replace(".", "/") + ".py"
    return "::".join(filter(None, (file, owner and f"Test{owner}", name)))


def cause_of(test: str, error: str) -> str | None:
    for cause in CAUSES:
        if re.match(cause.tests, test) and re.search(cause.message, error):
            return cause.says
    return None


def table(runs: Sequence[Run]) -> str:
    lines = [
        "| Python | torch | fairseq | passed | skipped | failed, with a cause | failed, without |",
        "|---|---|---|---|---|---|---|",
    ]
    named: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    unnamed: list[str] = []
    for run in runs:
        without = {test: text for test, text in run.failed.items() if cause_of(test, text) is None}
        cells = (
            *(run.python, run.torch, run.build, run.passed, sum(run.skipped.values())),
            *(len(run.failed) - len(without), len(without)),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
        for test, text in run.failed.items():
            cause = cause_of(test, text)
            if cause is not None:
                named[cause][test.partition("[")[0]].add(f"{run.python}, {run.build}: {test}")
        unnamed += [
            f"- `{test}` ({run.python}, {run.build}): {text.splitlines()[0][:200]}"
            for test, text in without.items()
        ]
    lines += ["", "Failures, one by one; a number is that of a test's variants:", ""]
    for cause, tests in named.items():
        listed = ", ".join(
            f"`{test}`" + (f" ({most})" if most > 1 else "")
            for test, found in tests.items()
            for most in (max(_per_run(found)),)
        )
        lines.append(f"- {cause}: {listed}")
    lines += unnamed
    reasons = sorted({(reason, number) for run in runs for reason, number in run.skipped.items()})
    lines += ["", "Skipped by fairseq itself: " + _reasons(reasons) + "."]
    return "\n".join(lines)


def _per_run(found: set[str]) -> list[int]:
    """How many variants of a test failed in each run."""
    runs = [one.partition(": ")[0] for one in found]
    return [runs.count(run) for run in set(runs)]


def _reasons(found: Sequence[tuple[str, int]]) -> str:
    most: dict[str, int] = {}
    for reason, number in found:
        most[reason] = max(number, most.get(reason, 0))
    return "; ".join(f"{reason.rstrip('.')} ({number})" for reason, number in most.items())


def replace_section(document: str, body: str) -> str:
    """The document with `body` between the first paragraph below `HEADING` and the next heading."""
    before, _, rest = document.partition(f"{HEADING}\n")
    if not rest:
        raise SystemExit(f"no heading {HEADING!r}")
    introduction = rest.split("\n| Python", 1)[0].rstrip("\n")
    following = re.search(r"^## ", rest, re.MULTILINE)
    after = rest[following.start() :] if following else ""
    return f"{before}{HEADING}\n{introduction}\n\n{body}\n" + (f"\n{after}" if after else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="the folder of *.xml and *.versions")
    parser.add_argument("document", type=Path, help="docs/matrix.md")
    args = parser.parse_args()
    runs = [read_run(path) for path in sorted(args.results.glob("*.xml"))]
    runs.sort(key=lambda run: ([int(part) for part in run.python.split(".")], run.build != "pure"))
    if not runs:
        raise SystemExit(f"no results in {args.results}")
    args.document.write_text(replace_section(args.document.read_text(), table(runs)))
    print(f"wrote {args.document}")
    return int(any(cause_of(*failure) is None for run in runs for failure in run.failed.items()))


if __name__ == "__main__":
    sys.exit(main())
