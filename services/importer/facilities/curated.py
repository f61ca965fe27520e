"""Authorities that do not follow from a facility's name, researched by hand: `facilities.csv` and `undecided.csv`.

A name without '*', and a pattern with the word COUNTY or PARISH, applies before any rule. Another pattern with '*'
applies only to names that the rules about counties and federal custody do not decide. A row with a city applies only to
that city.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import translate
from functools import cache
from importlib.resources import files

from schemas.jurisdiction import Operator
from services.importer.facilities.geography import states
from services.importer.facilities.spelling import place_key, words


@dataclass(frozen=True, slots=True)
class Entry:
    """A decision: a jurisdiction and its operator, or, with an empty code, the reason for having none."""

    code: str
    operator: Operator | None
    location: str
    reason: str
    why: str
    is_kind: bool = False
    """Whether it describes a kind of names, such as '* CORR FAC', and not one facility."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    text: re.Pattern[str]
    city: str
    has_county: bool
    entry: Entry


def exactly(name: str, postal: str, city: str) -> Entry | None:
    """The row for this normalized name; a row for the city takes precedence."""
    names = _names()
    return names.get((name, postal, place_key(city))) or names.get((name, postal, ""))


def in_a_countys_name(name: str, postal: str, city: str) -> Entry | None:
    """The first pattern with 'COUNTY' or 'PARISH', for places that have a county's name and are not its own."""
    return _first(name, city, (one for one in _patterns().get(postal, ()) if one.has_county))


def by_pattern(name: str, postal: str, city: str) -> Entry | None:
    """The first pattern of this state that the normalized name matches. Patterns that begin with a name come first."""
    return _first(name, city, _patterns().get(postal, ()))


def _first(name: str, city: str, patterns: Iterable[_Pattern]) -> Entry | None:
    key = place_key(city)
    return next((one.entry for one in patterns if one.city in ("", key) and one.text.match(name)), None)


@cache
def _names() -> dict[tuple[str, str, str], Entry]:
    found = {}
    for row in _table("facilities.csv", "undecided.csv"):
        if "*" not in row["facility"]:
            key = " ".join(words(row["facility"])), _postal(row), place_key(row["city"])
            found[key] = _entry(row)
    return found


@cache
def _patterns() -> dict[str, list[_Pattern]]:
    """By state. A pattern that begins with '*' describes a kind of names, so it comes after those with a name."""
    found: defaultdict[str, list[_Pattern]] = defaultdict(list)
    rows = [row for row in _table("undecided.csv", "facilities.csv") if "*" in row["facility"]]
    for row in sorted(rows, key=lambda row: row["facility"].startswith("* ")):
        spelt = words(row["facility"])
        text = re.compile(translate(" ".join(spelt)))
        has_county = bool({"COUNTY", "PARISH"} & set(spelt))
        found[_postal(row)].append(_Pattern(text, place_key(row["city"]), has_county, _entry(row)))
    return dict(found)


def _entry(row: dict[str, str]) -> Entry:
    if "reason" in row:
        return Entry("", None, "", row["reason"], row["why"])
    code = row["code"] or states()[row["state"]].code
    is_kind = row["facility"].startswith("* ")
    return Entry(code, Operator(row["operator"]), row["location"], "", row["why"], is_kind)


def _postal(row: dict[str, str]) -> str:
    return states()[row["state"]].postal if row["state"] else ""


def _table(*names: str) -> Iterator[dict[str, str]]:
    for name in names:
        text = (files(__package__) / name).read_text(encoding="utf-8")
        yield from csv.DictReader(line for line in text.splitlines() if line and not line.startswith("#"))
