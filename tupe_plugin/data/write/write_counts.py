"""Write what a step counted, for the manifest: sorted JSON, equal bytes for equal counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


def write_counts(path: Path, counts: Mapping[str, object]) -> None:
    """`{"documents": 3, ...}` into a file."""
    path.write_text(
        json.dumps(counts, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
    )
