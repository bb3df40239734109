"""Wikitext to paragraphs: what a reader sees and nothing else."""

from __future__ import annotations

import pytest

from tupe_plugin.data.read.strip_wikitext import strip_wikitext

BEFORE_AND_AFTER = [
    ("'''Bold''' and ''slanted''.", ["Bold and slanted."]),
    ("One.\n\nTwo.\nThree.", ["One.", "Two.", "Three."]),
    ("A [[link]] and [[page|its text]]s.", ["A link and its texts."]),
    ("A [[Portal 2|game]], [[:Category:Games]].", ["A game, Category:Games."]),
    ("[[Category:Games]][[fr:Jeu]][[zh-min-nan:Jeu]]Read.", ["Read."]),
    ("[[File:a.jpg|thumb|A [[cat]] on a mat.]]Read.", ["Read."]),
    ("[[Image:a.jpg|thumb]]Read.", ["Read."]),
    ("So.<ref>Book, p. 5.</ref> Then<ref name=x/>.", ["So. Then."]),
    ("Before {{cite web|url=x}}after.", ["Before after."]),
    ("{{Infobox\n|name = x {{y}}\n}}\nText.", ["Text."]),
    ("{{lang|grc|ἀρχή}} is {{convert|5|km|mi}} off.", ["ἀρχή is 5 km off."]),
    ("It ({{IPA|x}}; {{Audio|y}}) is.", ["It is."]),
    ("It ({{IPA|x}}, or so) is.", ["It (or so) is."]),
    ("== Heading ==\nText.", ["Text."]),
    ("Text.\n== References ==\n* A book.\n=== Notes ===\nx\n== Life ==\nMore.", ["Text.", "More."]),
    ("{| class=x\n! a\n|-\n| b || c\n|}\nText.", ["Text."]),
    ("{| never closed\n| b\nText.", ["Text."]),
    ("The sum <math>a^2</math> is.", ["The sum is."]),
    ("Text.<gallery>a.jpg|x</gallery> <!-- no -->More.", ["Text. More."]),
    ("* one\n* ''two''\n# three\n; term : meaning", ["one", "two", "three", "term meaning"]),
    ("a<br/>b<blockquote>c</blockquote>d", ["a", "b", "c", "d"]),
    ("5&nbsp;km &amp; 3&#8211;4", ["5 km & 3–4"]),
    (
        "See [http://a.org the page], [http://b.org] or http://c.org.",
        ["See the page, or http://c.org."],
    ),
    ("__NOTOC__\nText.", ["Text."]),
    ("Unclosed ''slant\nand <ref>book", ["Unclosed slant", "and"]),
    ("the ''Iliad'''s end", ["the Iliad's end"]),
    ("", []),
]


@pytest.mark.parametrize(("before", "after"), BEFORE_AND_AFTER)
def test_before_and_after(before, after):
    assert strip_wikitext(before) == after
