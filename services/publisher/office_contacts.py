"""Whether a contact can be an office. Pure.

Whether a text names a person cannot be decided. These rules require a word for an office, and refuse the usual forms of
personal names and addresses. An operator must check the rest.
"""

from __future__ import annotations

import re
from typing import Final

_RANKS: Final = frozenset(
    ["attorney", "chief", "clerk", "commissioner", "councilor", "director", "mayor", "officer", "prosecutor", "sheriff"]
)
"""A rank followed by other words is a person, unless one of these is a word for an office."""
_OFFICES: Final = _RANKS | {
    *("administration", "affairs", "agency", "board", "bureau", "center", "city", "commission", "commissioners"),
    *("contact", "corrections", "council", "counsel", "county", "court", "defender", "department", "desk"),
    *("detention", "district", "division", "enforcement", "executive", "foia", "government", "info", "information"),
    *("inquiries", "jail", "legal", "liaison", "media", "office", "operations", "police", "policy", "press"),
    *("public", "records", "relations", "sheriffs", "state", "town", "tribal", "tribe", "unit"),
}
_TITLES: Final = re.compile(r"\b(?:Mr|Mrs|Ms|Mx|Dr|Sgt|Lt|Capt|Maj|Esq)\b")
_EMAIL: Final = re.compile(r"([A-Za-z0-9._+-]{1,64})@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,63}")
_WORDS: Final = re.compile(r"[A-Za-z]+")
_APOSTROPHES: Final = re.compile("['’]")
_RULE: Final = "must be an office or its e-mail address, never a person"


def check_contact(text: str) -> str | None:
    """The broken rule; None if the contact can be an office."""
    if _TITLES.search(text):
        return f"{_RULE}: it has a person's title"
    if "@" not in text:
        return None if _is_office(_words(text)) else f"{_RULE}: it has no word such as office, department, county"
    address = _EMAIL.fullmatch(text)
    if address is None:
        return f"{_RULE}: it is not one e-mail address"
    if not _is_office(_words(address[1])):
        return f"{_RULE}: the part before @ has no word such as info, office, records"
    return None


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(_APOSTROPHES.sub("", text))]


def _is_office(words: list[str]) -> bool:
    if len(words) > 1 and words[0] in _RANKS:
        words = words[1:]
    return any(word in _OFFICES or any(len(one) > 3 and one in word for one in _OFFICES) for word in words)
