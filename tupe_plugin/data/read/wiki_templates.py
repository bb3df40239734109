"""Wikipedia's templates as words: `{{convert|100|to|200|ft|m}}` is "100 to 200 ft".

Of thousands of templates, those that are frequent in running text. A new one is a line in the
table at the end. What is not in the table is a note, a box or a banner, and is not read.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_NUMBER = re.compile(r"[-+−]?[\d,]*\.?\d+(e[-+]?\d+|[+⁄/]\d+([⁄/]\d+)?)?$", re.I)
_JOINERS = {
    "to": " to ",
    "and": " and ",
    "or": " or ",
    "by": " by ",
    "x": " by ",
    "×": " × ",
    "-": "–",
    "–": "–",
    "to(-)": " to ",
    "and(-)": " and ",
    "+/-": " ± ",
    "±": " ± ",
    "+": " + ",
}
_SMALLER_UNITS = frozenset(["ft", "in", "lb", "oz", "yd"])  # as in 5 ft 10 in
_LANGUAGE_CODE = re.compile(r"[a-z]{2,3}(-[a-z-]+)?$")


@dataclass(frozen=True)
class Arguments:
    """What a template was given, as text: by place, counted from 0, and by name."""

    by_place: list[str]
    by_name: Mapping[str, str]

    def __getitem__(self, key: int | str) -> str:
        """The argument, or "" where it was not given."""
        if isinstance(key, str):
            return self.by_name.get(key, "")
        return self.by_place[key] if key < len(self.by_place) else ""


Reader = Callable[[Arguments], str]


def text_of_template(name: str, arguments: Callable[[], Arguments]) -> str:
    """What a reader sees of the template; "" where it is not part of the sentence.

    Args:
        name: as it is written; a parser function's has its first argument: "formatnum:1234".
        arguments: gives the template's, and is called for those that are read only.
    """
    key = " ".join(name.replace("_", " ").split()).lower()
    if key in _TEMPLATES:
        return _TEMPLATES[key](arguments())
    for prefix, read in _BY_PREFIX.items():
        if key.startswith(prefix):
            given = arguments()
            if prefix.endswith(":"):
                rest = name.partition(":")[2].strip()
                given = Arguments([rest, *given.by_place], given.by_name)
            return read(given)
    return ""


def _constant(text: str) -> Reader:
    return lambda _: text


def _argument(place: int) -> Reader:
    return lambda given: given[place]


def _before_first(text: str) -> Reader:
    return lambda given: text + given[0] if given[0] else ""


def _last_of_several(given: Arguments) -> str:
    return given["text"] or (given.by_place[-1] if len(given.by_place) > 1 else "")


def _all(separator: str) -> Reader:
    return lambda given: separator.join(given.by_place)


def _grouped(number: str) -> str:
    """1234567.89 as 1,234,567.89; what is no plain number stays as it is."""
    return re.sub(r"^([-−+]?)(\d{4,99})(?=\.|$)", lambda m: f"{m[1]}{int(m[2]):,}", number)


def _convert(given: Arguments) -> str:
    """The quantity that the author gave, without its conversion."""
    values = given.by_place
    if not values:
        return ""
    text, place = _grouped(values[0]), 1
    while place + 1 < len(values) and values[place].lower() in _JOINERS:
        text += _JOINERS[values[place].lower()] + _grouped(values[place + 1])
        place += 2
    hyphen_or_space = "-" if given["adj"] in ("on", "mid") else " "
    text += hyphen_or_space + _unit(given[place]) if given[place] else ""
    if _NUMBER.match(given[place + 1]) and given[place + 2] in _SMALLER_UNITS:
        text += f" {given[place + 1]} {given[place + 2]}"
    return text


def _unit(code: str) -> str:
    if code in ("C", "F"):
        return f"°{code}"
    return re.sub(r"^(sq|cu)(?=[a-z])", r"\1 ", code)


def _as_of(given: Arguments) -> str:
    if given["alt"]:
        return given["alt"]
    words = "since" if given["since"] else "as of"
    if not given["lc"]:
        words = words.capitalize()
    date = _date(given)
    return (date if given["bare"] else f"{words} {date}") + given["post"] if date else ""


def _date(given: Arguments) -> str:
    year, month, day = (given[place] for place in range(3))
    if month.isdecimal() and 1 <= int(month) <= 12:
        month = calendar.month_name[int(month)]
    if given["df"].lower() in ("us", "mdy", "md") and day:
        return f"{month} {day}, {year}"
    return " ".join(filter(None, [day, month, year]))


def _quote(given: Arguments) -> str:
    text = given["text"] or given["quote"] or given[0]
    return f"\n{text}\n" if text else ""


def _val(given: Arguments) -> str:
    number, plus, minus = (given[place] for place in range(3))
    if minus:
        number += f" +{plus.lstrip('+')} −{minus.lstrip('-−')}"
    elif plus:
        number += f" ± {plus}"
    if exponent := given["e"]:
        number = f"{number} × 10^{exponent}" if number else f"10^{exponent}"
    unit = given["u"] or given["ul"]
    below = given["up"] or given["upl"]
    unit += f"/{below}" if below else ""
    text = f"{given['p']}{number}{given['s']}"
    return f"{text}{'' if unit in ('%', '°') else ' '}{unit}" if unit else text


def _fraction(given: Arguments) -> str:
    values = given.by_place
    if len(values) < 2:
        return f"1/{values[0]}" if values else ""
    whole = f"{values[0]} " if len(values) > 2 else ""
    return f"{whole}{values[-2]}/{values[-1]}"


def _circa(given: Arguments) -> str:
    return " – ".join(f"c. {year}" for year in given.by_place[:2]) or "c. "


def _in_angles(given: Arguments) -> str:
    return f"⟨{given[0]}⟩" if given[0] else ""


def _sic(given: Arguments) -> str:
    return "".join(given.by_place[:2]) or "[sic]"


def _nihongo(given: Arguments) -> str:
    original = ", ".join(filter(None, given.by_place[1:3]))
    return f"{given[0]} ({original})" if given[0] and original else given[0] or original


def _interlanguage_link(given: Arguments) -> str:
    is_older_form = _LANGUAGE_CODE.match(given[0]) and given[1]  # the language stood first
    return given["lt"] or given[1 if is_older_form else 0]


def _old_style_date(given: Arguments) -> str:
    return f"{given[0]} [O.S. {given[2]}] {given[1]}"


_TEMPLATES: dict[str, Reader] = {
    # quantities
    **dict.fromkeys(["convert", "cvt"], _convert),
    **dict.fromkeys(["frac", "sfrac", "fraction"], _fraction),
    **dict.fromkeys(["chem", "gaps"], _all("")),
    **dict.fromkeys(["railgauge", "rail gauge", "track gauge"], _argument(0)),
    "val": _val,
    "e": _before_first(" × 10^"),
    "pi": _constant("π"),
    **{mark.lower(): _before_first(mark) for mark in ("US$", "A$", "C$", "£", "€", "¥", "₹")},
    # dates
    "as of": _as_of,
    **dict.fromkeys(["start date", "end date"], _date),
    **dict.fromkeys(["circa", "c.", "ca."], _circa),
    **dict.fromkeys(["floruit", "fl."], _before_first("fl. ")),
    "oldstyledate": _old_style_date,
    # other languages and scripts
    **dict.fromkeys(["lang", "transl", "transliteration"], _last_of_several),
    **dict.fromkeys(["rtl-lang", "script", "wikt-lang"], _last_of_several),
    "langx": _argument(1),
    **dict.fromkeys(["unicode", "polytonic", "nq"], _argument(0)),
    "nihongo": _nihongo,
    **dict.fromkeys(["ill", "interlanguage link"], _interlanguage_link),
    # quotations
    **dict.fromkeys(["quote", "quotation", "blockquote", "block quote", "cquote"], _quote),
    "poemquote": _quote,
    # the look of a word
    **dict.fromkeys(["nowrap", "nobr", "sc", "smallcaps", "small", "smaller"], _argument(0)),
    **dict.fromkeys(["big", "large", "larger", "em", "strong", "abbr", "tooltip"], _argument(0)),
    **dict.fromkeys(["vanchor", "visible anchor", "math", "mvar", "chem2"], _argument(0)),
    **dict.fromkeys(["sub", "sup", "overline", "not a typo", "as written"], _all("")),
    **dict.fromkeys(["angbr", "angle bracket", "vr"], _in_angles),
    "sic": _sic,
    # names
    **{navy.lower(): _before_first(f"{navy} ") for navy in ("HMS", "USS", "RMS", "HMAS", "HMCS")},
    "ship": lambda given: " ".join(filter(None, given.by_place[:2])),
    **dict.fromkeys(["bibleverse", "bibleref"], lambda given: " ".join(given.by_place[:2])),
    "sortname": lambda given: " ".join(given.by_place[:2]),
    **dict.fromkeys(["flag", "flagu", "flagcountry"], _argument(0)),
    # marks and spaces
    **dict.fromkeys(["nbsp", "space", "spaces", "thinsp", "thin space", "hairsp"], _constant(" ")),
    **dict.fromkeys(["ndash", "en dash", "endash"], _constant("–")),
    **dict.fromkeys(["mdash", "em dash", "emdash", "mdashb"], _constant("—")),
    **dict.fromkeys(["snd", "spnd", "sndash", "spaced ndash", "spaced en dash"], _constant(" – ")),
    **dict.fromkeys(["spaced mdash", "spaced em dash"], _constant(" — ")),
    **{mark: _constant(mark.replace(" ", "")) for mark in ("'", "'s", "' \"", "\" '")},
    **{f"-{mark}": _constant(mark) for mark in ("'", '"')},
    "=": _constant("="),
    "music": lambda given: {"flat": "♭", "sharp": "♯", "natural": "♮"}.get(given[0], ""),
}

_BY_PREFIX: dict[str, Reader] = {
    "formatnum:": lambda given: given[0].replace(",", "") if given[1] else _grouped(given[0]),
    "lang-": _argument(0),
    "script/": _argument(0),
}
