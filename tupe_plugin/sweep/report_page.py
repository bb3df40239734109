"""A table, its notes and its pictures as one HTML page that needs no network and runs no script."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .report_pictures import Picture
from .report_table import Column

TEMPLATE = Path(__file__).with_name("report_page.html.j2")


class Table(NamedTuple):
    """What stands in the middle of the page; the column `heading` names the rows."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    heading: int


def page(
    table: Table, notes: Sequence[str], pictures: Sequence[Picture], *, title: str, summary: str
) -> str:
    """The whole file. Every name in it is escaped, and the page itself forbids scripts."""
    from jinja2 import Environment, StrictUndefined  # a page is made rarely

    surroundings = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    surroundings.filters["data_uri"] = _data_uri
    template = surroundings.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        title=title,
        summary=summary,
        table_title=table.title,
        columns=table.columns,
        rows=table.rows,
        heading=table.heading,
        notes=notes,
        pictures=pictures,
    )


def _data_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
