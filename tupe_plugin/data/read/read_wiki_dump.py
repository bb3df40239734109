"""Read the articles of a MediaWiki XML dump (`enwiki-...-pages-articles.xml.bz2`), one by one.

The XML is parsed as a stream and every page is forgotten when it is read, so memory does not grow
with the dump. Redirects, pages outside of the article namespace (0) and pages that are not wikitext
(Lua, JSON) are left out and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

from .open_text import DAMAGED, UnreadableTextError, open_decompressed

_ARTICLE_NAMESPACE = "0"
_WIKITEXT = (None, "wikitext")  # dumps before schema 0.6 do not say


def read_articles(
    path: Path,
    counts: Counter[str],
    *,
    workers: int = 1,
    on_progress: Callable[[int], object] = lambda _: None,
) -> Iterator[str]:
    """Yield the wikitext of each article, in the dump's order; adds to `counts` what was left out.

    `workers` as in `open_decompressed`.

    Raises:
        UnreadableTextError: the file is not a dump, is damaged, or ends too early.
    """
    title: str | None = None
    found_dump = False
    with open_decompressed(path, workers=workers) as (stream, place):
        told = 0
        try:
            events = ElementTree.iterparse(stream, events=("start", "end"))
            _, root = next(events)
            found_dump = _tag(root) == "mediawiki"
            if not found_dump:
                raise UnreadableTextError(
                    f"{path}: <mediawiki> expected, found <{_tag(root)}>: not a MediaWiki dump"
                )
            for event, element in events:
                if event != "end" or _tag(element) != "page":
                    continue
                fields = {_tag(child): child.text for child in element.iter()}
                title = fields.get("title")
                kind = _kind(fields)
                counts[kind] += 1
                if kind == "articles":
                    yield fields.get("text") or ""
                root.clear()
                on_progress(place() - told)
                told = place()
        except (ElementTree.ParseError, StopIteration, *DAMAGED) as error:
            where = f"beyond the page {title!r}" if title else "from its start on"
            raise UnreadableTextError(
                f"{path}: cannot be read {where}: {error or type(error).__name__}; "
                f"is the download complete?"
            ) from error
        on_progress(place() - told)


def _tag(element: ElementTree.Element) -> str:
    """The name without the namespace, which differs with the version of the dump."""
    return element.tag.rpartition("}")[2]


def _kind(fields: dict[str, str | None]) -> str:
    if fields.get("ns", _ARTICLE_NAMESPACE) != _ARTICLE_NAMESPACE:
        return "pages outside of the article namespace"
    if "redirect" in fields or (fields.get("text") or "")[:9].upper() == "#REDIRECT":
        return "redirects"
    if fields.get("model") not in _WIKITEXT:
        return "pages that are not wikitext"
    return "articles"
