"""`make fairseq-tests`: a failure has a cause, or table and exit status say that it has none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

RESULTS = """<testsuites><testsuite>
<testcase classname="tests.test_utils.TestUtils" name="test_one"/>
<testcase classname="tests.test_utils.TestUtils" name="test_gpu">
  <skipped message="no GPU"/></testcase>
<testcase classname="tests.test_multihead_attention" name="test_xformers_parity[a]">
  <failure message="ImportError: ">...</failure></testcase>
<testcase classname="tests.test_multihead_attention" name="test_xformers_parity[b]">
  <failure message="{message}">...</failure></testcase>
<testcase classname="" name="tests.test_new">
  <error message="collection failure">no x</error></testcase>
</testsuite></testsuites>"""


def test_the_table_has_every_failure(tmp_path: Path) -> None:
    results, document = tmp_path / "3.11-pure.xml", tmp_path / "matrix.md"
    results.with_suffix(".versions").write_text("3.11.7 2.13.0\n")
    document.write_text("# A\n\n## fairseq's own tests\n\nWords.\n\n| Python | old |\n\n## B\n")
    for message, new, counts in (
        ("ImportError: ", "", "| 1 | 1 | 2 | 0 |"),
        ("AssertionError: 2", "<!-- no error -->", "| 1 | 1 | 1 | 2 |"),
    ):
        text = RESULTS.replace("{message}", message)
        if not new:
            text = text[: text.index('<testcase classname="" ')] + "</testsuite></testsuites>"
        results.write_text(text)
        command = [sys.executable, ROOT / "scripts/fairseq_tests_table.py", tmp_path, document]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == (1 if new else 0)
        written = document.read_text()
        assert f"| 3.11.7 | 2.13.0 | pure {counts}" in written
        assert written.startswith("# A\n\n## fairseq's own tests\n\nWords.\n\n| Python | torch")
        assert written.endswith("Skipped by fairseq itself: no GPU (1).\n\n## B\n")
    assert "- `test_multihead_attention.py::test_xformers_parity[b]` (3.11.7, pure)" in written
    assert "- `test_new.py` (3.11.7, pure): collection failure" in written
