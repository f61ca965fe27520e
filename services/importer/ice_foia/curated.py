"""What the facilities' names do not say, looked up by hand: ``facilities.csv``, and ``undecided.csv``.

A name without '*' decides before any rule, a pattern with '*' only for names that no rule about counties or
federal custody has decided. A row with a city holds for that city alone.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import translate
from functools import cache
from importlib.resources import files

from schemas.jurisdiction import Operator
from services.importer.ice_foia.places import states
from services.importer.ice_foia.spelling import place, words


@dataclass(frozen=True, slots=True)
class Entry:
    """A decision: a jurisdiction and who runs it, or (code empty) the reason why none is given."""

    code: str
    operator: Operator | None
    location: str
    reason: str
    why: str


@dataclass(frozen=True, slots=True)
class _Pattern:
    text: re.Pattern[str]
    postal: str
    entry: Entry


def exactly(name: str, postal: str, city: str) -> Entry | None:
    """The row for this spelt name, one for this city first."""
    names = _names()
    return names.get((name, postal, place(city))) or names.get((name, postal, ""))


def by_pattern(name: str, postal: str) -> Entry | None:
    """The first pattern of this state, or of any state, that the spelt name matches."""
    for pattern in _patterns():
        if pattern.postal in ("", postal) and pattern.text.match(name):
            return pattern.entry
    return None


@cache
def _names() -> dict[tuple[str, str, str], Entry]:
    found = {}
    for row in _table("facilities.csv", "undecided.csv"):
        if "*" not in row["facility"]:
            key = " ".join(words(row["facility"])), _postal(row), place(row["city"])
            found[key] = _entry(row)
    return found


@cache
def _patterns() -> tuple[_Pattern, ...]:
    return tuple(
        _Pattern(re.compile(translate(" ".join(words(row["facility"])))), _postal(row), _entry(row))
        for row in _table("undecided.csv", "facilities.csv")
        if "*" in row["facility"]
    )


def _entry(row: dict[str, str]) -> Entry:
    if "reason" in row:
        return Entry("", None, "", row["reason"], row["why"])
    code = row["code"] or states()[row["state"]].code
    return Entry(code, Operator(row["operator"]), row["location"], "", row["why"])


def _postal(row: dict[str, str]) -> str:
    return states()[row["state"]].postal if row["state"] else ""


def _table(*names: str) -> Iterator[dict[str, str]]:
    for name in names:
        text = (files(__package__) / name).read_text(encoding="utf-8")
        yield from csv.DictReader(line for line in text.splitlines() if line and not line.startswith("#"))
