"""Wikitext in, the paragraphs that a reader sees out.

`mwparserfromhell` parses; what is kept is the running text: link texts, list items, emphasised
words, and the templates of `wiki_templates.py`. What is not: other templates, references, tables,
formulas, files, categories, comments, headings, and the sections that hold no prose (References,
External links ...).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import mwparserfromhell
from mwparserfromhell.definitions import INVISIBLE_TAGS
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

from .wiki_templates import Arguments, text_of_template

_OWN_LINE_TAGS = frozenset(
    ["blockquote", "br", "center", "dd", "div", "dl", "dt", "li", "ol", "p", "poem", "ul"]
)
# Tags whose content is no running text; that of any other is read.
_HIDDEN_TAGS = frozenset(
    [
        *INVISIBLE_TAGS,
        *("ref", "references", "table", "caption", "tr", "th", "td", "ce", "chem", "hiero"),
        *("includeonly", "pre", "source", "syntaxhighlight", "mapframe", "maplink", "indicator"),
        *("templatestyles", "rp", "rt", "script", "style"),
    ]
)

_SECTIONS_WITHOUT_PROSE = frozenset(
    [
        *("bibliography", "citations", "external links", "footnotes", "further reading", "gallery"),
        *("notes", "notes and references", "references", "references and notes", "see also"),
        *("sources", "works cited"),
    ]
)

_HIDDEN_NAMESPACE = re.compile(r"\s*(file|image|category|media)\s*:", re.I)
# [[fr:Jeu]], [[be-x-old:Jeu]]; but [[CSI: Miami]] is a title, and [[fr:Jeu|a game]] has a text.
_OTHER_LANGUAGE = re.compile(r"\s*([a-z]{2,3}(-[a-z-]+)?|simple):(?=\S)")
_MOST_ARGUMENTS = 100

_MAGIC_WORD = re.compile(r"__[A-Z]{3,}__")
# What the parser leaves as text where an author forgot to close it.
_QUOTED_LINE = re.compile(r"^.*'''.*$", re.M)
_POSSESSIVE = re.compile(r"s\b")
_UNCLOSED_QUOTES = re.compile(r"''+(?:('s)\b)?")
_QUOTE_MARKS = re.compile(r"''+")
_UNCLOSED_BLOCK = re.compile(r"^(\||\[\[\s*(file|image)\s*:)", re.I)
_UNCLOSED_REF = re.compile(r"<ref[^<]*(</ref>|$)", re.I)
_UNCLOSED_MARK = re.compile(r"</?[a-z][^<>]*>|\[\[([^|\]]*\|)?|\]\]|\{\{[^{}]*|\}\}", re.I)
# No tag: another begins before it ends. The parser would try each to the end of the page.
_TAG_WITHOUT_END = re.compile(r"""<(?=/?[a-z][^<>"']*(?:<(?!!--)|\Z))""", re.I)
_LITERAL_TAG = re.compile(r"<(/?)(?:nowiki|pre|source|syntaxhighlight)\b[^<>]*(?<!/)>", re.I)
_EMPTIED_BRACKETS = re.compile(r"\s*\(\s*(?:[,;:–-]\s*)*\)")
_SPACE_AFTER_OPENING = re.compile(r"\(\s*(?:[,;]\s*)+|\(\s+")
_MARK_BEFORE_CLOSING = re.compile(r"(?<![\s,;])(?:\s*[,;])+\s*\)")
_SPACE_BEFORE_CLOSING = re.compile(r"\s+([,;.)])(?=\s|$)")


def strip_wikitext(wikitext: str) -> list[str]:
    """The page's paragraphs and list items, one line each, none of them empty."""
    parts: list[str] = []
    skipped_level = 0  # of the heading of a section without prose; 0: the section is read
    wikitext = _QUOTED_LINE.sub(_with_written_apostrophe, _without_unclosed_comment(wikitext))
    wikitext = _TAG_WITHOUT_END.sub("&lt;", wikitext)
    for node in mwparserfromhell.parse(wikitext).nodes:
        if isinstance(node, Heading):
            parts.append("\n")
            if not skipped_level or node.level <= skipped_level:
                title = node.title.strip_code().strip().lower()
                skipped_level = node.level if title in _SECTIONS_WITHOUT_PROSE else 0
        elif not skipped_level:
            parts.append(_text_of_node(node))
    paragraphs = map(_tidy, _outside_of_open_tables("".join(parts).split("\n")))
    return [paragraph for paragraph in paragraphs if paragraph]


def _without_unclosed_comment(wikitext: str) -> str:
    """MediaWiki hides all that follows; the parser would take it for text."""
    start = wikitext.find("<!--", wikitext.rfind("-->") + 1)
    if start < 0:
        return wikitext
    tags = _LITERAL_TAG.findall(wikitext, 0, start)
    is_literal = bool(tags) and tags[-1] == ""  # inside of <nowiki>
    return wikitext if is_literal else wikitext[:start]


def _with_written_apostrophe(line: re.Match[str]) -> str:
    """MediaWiki's rule for ''Iliad'''s: where bold and italics are both odd, one ''' is ' and ''.

    It is the first after a word of one letter, else after a longer word, else after a space.
    Deviation: one before a possessive s goes first; MediaWiki would break a bold word before it.
    """
    text = line[0]
    marks = list(_QUOTE_MARKS.finditer(text))
    lengths = [len(mark[0]) for mark in marks]
    bold = sum(length >= 3 for length in lengths)
    italic = sum(length == 2 or length >= 5 for length in lengths)
    if bold % 2 == 0 or italic % 2 == 0:
        return text
    # Four marks are an apostrophe and a bold mark.
    starts = [mark.end() - 3 for mark in marks if 3 <= len(mark[0]) <= 4]
    if not starts:
        return text
    place = min(starts, key=lambda start: _order_of_apostrophe(text, start))
    return f"{text[:place]}&#39;{text[place + 1 :]}"


def _order_of_apostrophe(text: str, start: int) -> int:
    before = text[max(0, start - 2) : start]
    if _POSSESSIVE.match(text, start + 3) and before[-1:].isalnum():
        return 0
    if before[-1:] == " ":
        return 3
    return 1 if before[-2:-1] == " " else 2


def _outside_of_open_tables(lines: Iterable[str]) -> Iterator[str]:
    """Leaves out the rows of tables that the parser left as text: a part of them is not closed."""
    depth = 0
    for line in lines:
        mark = line.strip(" :*")[:2]
        if mark == "{|":
            depth += 1
        elif mark == "|}":
            depth = max(0, depth - 1)
        elif not (depth and mark[:1] in ("|", "!")):
            yield line


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
    if _HIDDEN_NAMESPACE.match(title):
        return ""
    if link.text is not None:
        return _text_of(link.text)
    return "" if _OTHER_LANGUAGE.match(title) else _text_of(link.title).lstrip(":").strip()


def _text_of_tag(tag: Tag) -> str:
    name = str(tag.tag).strip().lower()
    line = "\n" if name in _OWN_LINE_TAGS else ""
    if name in _HIDDEN_TAGS:
        return ""
    if tag.wiki_markup and name in ("li", "dd", "dt"):
        return ""  # the mark only: its text follows, on the line that it begins
    return line + _text_of(tag.contents) + line


def _text_of_template(template: Template) -> str:
    return text_of_template(_text_of(template.name), lambda: _arguments_of(template))


def _arguments_of(template: Template) -> Arguments:
    by_name = {str(p.name).strip(): _text_of(p.value).strip() for p in template.params}
    places = [int(name) for name in by_name if name.isdecimal() and int(name) <= _MOST_ARGUMENTS]
    by_place = [by_name.get(str(place), "") for place in range(1, max(places, default=0) + 1)]
    return Arguments(by_place, by_name)


def _tidy(line: str) -> str:
    line = _MAGIC_WORD.sub("", line).strip()
    if _UNCLOSED_BLOCK.match(line):
        return ""
    line = _UNCLOSED_MARK.sub("", _UNCLOSED_REF.sub("", line))
    line = _UNCLOSED_QUOTES.sub(r"\1", line)
    line = _EMPTIED_BRACKETS.sub("", line)
    line = _SPACE_AFTER_OPENING.sub("(", line)
    line = _MARK_BEFORE_CLOSING.sub(")", line)
    line = _SPACE_BEFORE_CLOSING.sub(r"\1", line)
    return " ".join(line.split())
