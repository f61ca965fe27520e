"""Detection of alien registration numbers (A-numbers) in text. All text input is checked with this one pattern.

An A-number names a person. It has seven to nine digits after an A (USCIS, *Glossary*, "Alien Registration Number":
"a unique seven-, eight- or nine-digit number"; USCIS, *Handbook for Employers M-274*: "7-9 digits"). It is printed as
A12345678, A12-345-678 or A012-345-678 (EOIR, *Immigration Court Practice Manual*), 012-345-678 (the permanent resident
card, as "USCIS#"), and people type it with arbitrary separators.

The pattern matches an A, or a word for the number, before seven to nine digits, with at most one other character
between two digits. Digits such as a year may precede the A. A letter may not, because NCA12345678 is another kind of
code; an upper-case A after a lower-case letter, as in idA12345678, does match. Eight or nine digits without an A match
only as the whole string: inside a longer string they may be a date, and seven digits may be any serial number.

Machine-made identifiers contain an A before digits by chance: one in 23 random UUIDs does. Therefore these are removed
from the text first: UUIDs, runs of 32 or more hexadecimal digits, runs of exactly 16 in lower case (span ids of W3C
Trace Context) and ULIDs. Nothing of a UUID remains, so no random UUID is refused, alone or within other text.
"""

from __future__ import annotations

import re
from typing import Final

_BETWEEN: Final = r"[^0-9A-Za-z]"
_YEAR: Final = rf"(?:19|20)[0-9]{{2}}{_BETWEEN}"
"""A-2017-01-28 is a date with a prefix, not a number."""
_AFTER_A: Final = rf"(?:lien)?{_BETWEEN}{{0,3}}(?:n(?:o|um|umber))?{_BETWEEN}{{0,3}}(?!{_YEAR})"
_DIGITS: Final = rf"[0-9](?:{_BETWEEN}?[0-9]){{6,8}}(?![0-9])"
_SHAPE: Final = re.compile(rf"[Aa](?:(?<![A-Za-z][Aa])|(?<=[a-z]A))(?i:{_AFTER_A}){_DIGITS}")
"""Starts with the letter A, so that text without one is skipped fast."""
_ALONE: Final = re.compile(rf"[0-9]{{8,9}}|[0-9]{{1,3}}{_BETWEEN}[0-9]{{3}}{_BETWEEN}[0-9]{{3}}")
_MACHINE_MADE: Final = re.compile(
    r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
    r"|[0-9A-Fa-f]{32,}"
    r"|(?<![0-9A-Za-z])[0-9a-f]{16}(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z])01[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{24}(?![0-9A-Za-z])"
)


def has_a_number(text: str) -> bool:
    """Whether any part of the text is shaped like an alien registration number."""
    if _SHAPE.search(text) is None:
        return text[:1].isdecimal() and _ALONE.fullmatch(text) is not None
    return _SHAPE.search(_MACHINE_MADE.sub("x", text)) is not None


def impersonal(text: str) -> str:
    """Validator for text that is stored or published: return it unchanged. Raises ValueError if it has an A-number."""
    if has_a_number(text):
        raise ValueError("must not contain text shaped like an alien registration number")
    return text
