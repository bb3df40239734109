"""Wikitext in, the paragraphs that a reader sees out.

`mwparserfromhell` parses; what is kept is the running text: link texts, list items, emphasised
words. What is not: templates, references, tables, formulas, files, categories, comments, headings,
and the sections that hold no prose (References, External links ...).
"""

from __future__ import annotations

import re
from collections.abc import Callable

import mwparserfromhell
from mwparserfromhell.nodes import (
    ExternalLink,
    Heading,
    HTMLEntity,
    Tag,
    Template,
    Text,
    Wikilink,
)
from mwparserfromhell.wikicode import Wikicode

_OWN_LINE_TAGS = frozenset(
    ["blockquote", "br", "center", "dd", "div", "dl", "dt", "li", "ol", "p", "poem", "ul"]
)
_INLINE_TAGS = frozenset(
    [
        *("abbr", "b", "bdi", "big", "cite", "del", "em", "font", "i", "ins", "kbd", "nowiki"),
        *("onlyinclude", "q", "s", "samp", "section", "small", "span", "strong", "sub", "sup"),
        *("tt", "u", "var"),
    ]
)

# Templates whose arguments are read as part of the sentence. Of thousands, those that are frequent.
_VISIBLE_TEMPLATES: dict[str, Callable[[list[str]], str]] = {
    "lang": lambda values: values[-1] if len(values) > 1 else "",
    "transl": lambda values: values[-1] if len(values) > 1 else "",
    "nowrap": lambda values: "".join(values[:1]),
    "convert": lambda values: " ".join(values[:2]),
    "cvt": lambda values: " ".join(values[:2]),
    "circa": lambda values: "c. " + "".join(values[:1]),
    "nbsp": lambda values: " ",
    "ndash": lambda values: "–",
    "spaced ndash": lambda values: " – ",
    "mdash": lambda values: "—",
    "'": lambda values: "'",
    "'s": lambda values: "'s",
}

_SECTIONS_WITHOUT_PROSE = frozenset(
    [
        *("bibliography", "citations", "external links", "footnotes", "further reading", "gallery"),
        *("notes", "notes and references", "references", "references and notes", "see also"),
        *("sources", "works cited"),
    ]
)

# [[File:...]], [[Category:...]], [[fr:...]]; but [[Portal 2]] and [[:Category:...]] are read.
_LINK_PREFIX = re.compile(r"\s*(file|image|category|media|[a-z]{2,3}|simple|zh-[a-z-]+)\s*:", re.I)

_MAGIC_WORD = re.compile(r"__[A-Z]{3,}__")
# What the parser leaves as text where an author forgot to close it.
_UNCLOSED_BLOCK = re.compile(r"^(\{\||\||\[\[\s*(file|image)\s*:)", re.I)
_UNCLOSED_REF = re.compile(r"<ref[^<]*(</ref>|$)", re.I)
_UNCLOSED_MARK = re.compile(r"</?[a-z][^<>]*>|\[\[([^|\]]*\|)?|\]\]|\{\{[^{}]*|\}\}", re.I)
_UNCLOSED_QUOTES = re.compile(r"''+(?:('s)\b)?")
_EMPTIED_BRACKETS = re.compile(r"\s*\(\s*(?:[,;:–-]\s*)*\)")
_SPACE_AFTER_OPENING = re.compile(r"\(\s*(?:[,;]\s*)+|\(\s+")
_SPACE_BEFORE_CLOSING = re.compile(r"\s+([,;.)])(?=\s|$)")


def strip_wikitext(wikitext: str) -> list[str]:
    """The page's paragraphs and list items, one line each, none of them empty."""
    parts: list[str] = []
    skipped_level = 0  # of the heading of a section without prose; 0: the section is read
    for node in mwparserfromhell.parse(wikitext).nodes:
        if isinstance(node, Heading):
            parts.append("\n")
            if not skipped_level or node.level <= skipped_level:
                title = node.title.strip_code().strip().lower()
                skipped_level = node.level if title in _SECTIONS_WITHOUT_PROSE else 0
        elif not skipped_level:
            parts.append(_text_of_node(node))
    paragraphs = (_tidy(line) for line in "".join(parts).split("\n"))
    return [paragraph for paragraph in paragraphs if paragraph]


def _text_of(code: Wikicode | None) -> str:
    return "" if code is None else "".join([_text_of_node(node) for node in code.nodes])


def _text_of_node(node: object) -> str:
    if isinstance(node, Text):
        return str(node.value)
    if isinstance(node, Wikilink):
        return _text_of_link(node)
    if isinstance(node, Tag):
        return _text_of_tag(node)
    if isinstance(node, HTMLEntity):
        try:
            return node.normalize()
        except (ValueError, OverflowError):  # a number that is no character
            return ""
    if isinstance(node, Template):
        return _text_of_template(node)
    if isinstance(node, ExternalLink):
        return _text_of(node.title) if node.brackets else str(node.url)
    return ""  # comments, arguments


def _text_of_link(link: Wikilink) -> str:
    title = str(link.title)
    if _LINK_PREFIX.match(title):
        return ""
    return _text_of(link.text) if link.text is not None else title.lstrip(":").strip()


def _text_of_tag(tag: Tag) -> str:
    name = str(tag.tag).strip().lower()
    line = "\n" if name in _OWN_LINE_TAGS else ""
    if name not in _OWN_LINE_TAGS and name not in _INLINE_TAGS:
        return ""
    if tag.wiki_markup and name in ("li", "dd", "dt"):
        return ""  # the mark only: its text follows, on the line that it begins
    return line + _text_of(tag.contents) + line


def _text_of_template(template: Template) -> str:
    visible = _VISIBLE_TEMPLATES.get(str(template.name).strip().lower())
    if visible is None:
        return ""
    return visible([_text_of(p.value).strip() for p in template.params if not p.showkey])


def _tidy(line: str) -> str:
    line = _MAGIC_WORD.sub("", line).strip()
    if _UNCLOSED_BLOCK.match(line):
        return ""
    line = _UNCLOSED_MARK.sub("", _UNCLOSED_REF.sub("", line))
    line = _UNCLOSED_QUOTES.sub(r"\1", line)
    line = _EMPTIED_BRACKETS.sub("", line)
    line = _SPACE_AFTER_OPENING.sub("(", line)
    line = _SPACE_BEFORE_CLOSING.sub(r"\1", line)
    return " ".join(line.split())
