"""Web addresses, e-mail addresses and file names become `<url>`, `<email>`, `<file>`.

What such a name says is not in its letters, and cut into units it would fill a sample. The three
words are among `PROTECTED_WORDS`: no later step cuts them, and the authors' dictionary has them.
"""

from __future__ import annotations

import re

# A sentence's punctuation after an address is not part of it: neither `.` nor `)` nor a quote.
_END = r"(?<![.,;:!?'\")\]}’”»*_])"
_NAME = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_DOMAIN = rf"(?:{_NAME}\.)+[a-z]{{2,24}}"

_RULES = [
    (
        "<url>",
        rf"\b(?:(?:https?|ftp)://(?=[^\s<>])|www\.(?=[a-z0-9]))[^\s<>\"“”«»|]*{_END}",
        ("://", "www."),
    ),
    ("<email>", rf"(?<![\w.+-])(?:mailto:)?[a-z0-9_][\w.+-]*@{_DOMAIN}\b", ("@",)),
    # Without http:// only the domains that nobody takes for the end of a sentence.
    (
        "<url>",
        rf"(?<![\w.@-])(?:{_NAME}\.)*[a-z0-9][a-z0-9-]{{2,}}\.(?:com|net|org|edu|gov)\b"
        r"(?:/[^\s<>\"“”«»|]*" + _END + r"|(?![\w@-]|\.\w))",
        (".com", ".net", ".org", ".edu", ".gov"),
    ),
    # At least five characters before the suffix, so that "e.g. A.doc" and "node.py" stay words.
    (
        "<file>",
        r"(?<![\w./@-])[a-z_-][a-z0-9_-]{4,}\.(?:pdf|docx?|xlsx?|pptx?|rtf|txt|csv|tsv|mp[34]|wav"
        r"|wma|avi|mov|mid|png|jpe?g|gif|bmp|cpp|py|bat|reg)\b(?![\w@-]|\.\w)",
        (".",),
    ),
]
_IN_A_WORD = re.compile(r"\.[a-z0-9]", re.I | re.A)
_COMPILED = [(word, re.compile(rule, re.I | re.A), marks) for word, rule, marks in _RULES]


def replace_addresses(line: str) -> str:
    """`See http://a.org/b (or a@b.org).` -> `See <url> (or <email>).`"""
    if "." not in line or not (_IN_A_WORD.search(line) or "://" in line):
        return line
    lower = line.lower()
    for word, rule, marks in _COMPILED:
        # A search for the mark costs a hundredth of a search by the rule.
        if any(mark in lower for mark in marks):
            line = rule.sub(word, line)
    return line
