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
    ("It (or so, {{IPA|x}}) is.", ["It (or so) is."]),
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
    ("a '''b''' of ''Iliad'''s and ''c'', '''d'''", ["a b of Iliad's and c, d"]),
    ("the l'''aria'' and '''b'''", ["the l'aria and b"]),
    ("[[CSI: Miami]], [[WP:Not|no]], [[hdl:1|x]], [[OS&nbsp;X]].", ["CSI: Miami, no, x, OS X."]),
    (
        "So <code>x = ''y''</code> in <time>May</time>,<pre>a</pre> <b>b</b>.",
        ["So x = y in May, b."],
    ),
    ("{| class=x\n! colspan=2 | a {{open\n| b\n!c\n|}\n!Kung is.", ["!Kung is."]),
    ("Text. <!-- open\n''more''", ["Text."]),
    ("<nowiki><!--</nowiki> opens.\nMore.", ["<!-- opens.", "More."]),
    ("Text " + "<nowiki a b. " * 20_000, [("Text " + "<nowiki a b. " * 20_000).strip()]),
    ("", []),
]

TEMPLATES_AND_TEXT = [
    ("{{convert|100|to|200|ft|m}}", "100 to 200 ft"),
    ("{{convert|1300|mi|km|0|abbr=on}}", "1,300 mi"),
    ("{{convert|2|x|3|x|4|sqft}}", "2 by 3 by 4 sq ft"),
    ("{{Cvt|5|ft|10|in|cm}}", "5 ft 10 in"),
    ("a{{snd}}b{{spaces|3}}c{{mdash}}d", "a – b c—d"),
    ("{{formatnum:1234567.5}}, {{formatnum:1,234|R}}, {{formatnum:{{x}}}}.", "1,234,567.5, 1234,."),
    ("{{as of|2010}}", "As of 2010"),
    ("{{As_of|2010|5|3|lc=y|df=us}}", "as of May 3, 2010"),
    ("{{as of|2010|alt=in [[2010]]}}", "in 2010"),
    ("{{lang-el|''Αχιλλεύς''}}, {{langx|fr|oui}}, {{script/Arabic|ﷲ}}", "Αχιλλεύς, oui, ﷲ"),
    ("{{val|6.241|0.002|e=18|u=C}}", "6.241 ± 0.002 × 10^18 C"),
    ("{{val|30|1|2|up=s}} 5{{e|24}}", "30 +1 −2 /s 5 × 10^24"),
    ("{{frac|3}}, {{frac|3|2}}, {{sfrac|1|1|4}}", "1/3, 3/2, 1 1/4"),
    ("{{nihongo|Aikido|合気道|aikidō}}", "Aikido (合気道, aikidō)"),
    ("{{ill|de|Haus am See}}, {{ill|Hans|de|Hans X}}", "Haus am See, Hans"),
    ("{{chem|C|''n''|H|2''n''+2}}", "CnH2n+2"),
    ("{{HMS|Ajax|22|6}} {{small|1={{US$|2}}}} {{angbr|a}}", "HMS Ajax US$2 ⟨a⟩"),
    ("so{{sic}}{{citation needed|date=May}}{{convert}}{{99999999999=x}}", "so[sic]"),
]


@pytest.mark.parametrize(("before", "after"), BEFORE_AND_AFTER)
def test_before_and_after(before, after):
    assert strip_wikitext(before) == after


@pytest.mark.parametrize(("before", "after"), TEMPLATES_AND_TEXT)
def test_templates_are_read_as_words(before, after):
    assert strip_wikitext(f"It {before} is.") == [f"It {after} is."]


def test_a_quotation_is_a_paragraph_of_its_own():
    assert strip_wikitext("He: {{Quote|text=So ''be'' it.|author=X}} Then") == [
        "He:",
        "So be it.",
        "Then",
    ]
