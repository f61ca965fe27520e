"""The registry of jurisdictions that respond to detainers, and their codes.

A county or county equivalent has its five-digit GEOID (FIPS), a state or territory two digits, a tribe the
four-digit Census code of its reservation, federal custody ``US``. Names are not identifiers: there are 31 counties
called Washington.

Sources: Census files in the package `addfips`, corrected by ``data/counties.csv``, and ``data/tribes.csv``.
A code that is valid in any edition is accepted and stored as sent. It is unknown which successor of a split county
responded to a detainer, and last year's report must not change when a code is retired.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from importlib.metadata import version
from importlib.resources import files

FEDERAL = "US"
TRIBAL_DIGITS = 4
"""Length of a tribe's code. No other code has this length."""

# The files in addfips. 2022 differs from 2020 only in Connecticut, which data/counties.csv covers.
_FILES = ("2000", "2010", "2015", "2020")
_SINCE_2020 = "2022"
# The uninhabited Minor Outlying Islands are not a state, but addfips lists Midway with the counties.
_NO_STATE = "74"


class JurisdictionKind(StrEnum):
    """The kind of jurisdiction that a code identifies."""

    COUNTY = "county"
    STATE = "state"
    FEDERAL = "federal"
    TRIBAL = "tribal"


class Operator(StrEnum):
    """Who has custody of the person. A city's jail counts for its county, so there is no jurisdiction of kind city."""

    COUNTY = "county"
    CITY = "city"
    STATE = "state"
    FEDERAL = "federal"
    TRIBAL = "tribal"


_KIND_OF = {
    Operator.COUNTY: JurisdictionKind.COUNTY,
    Operator.CITY: JurisdictionKind.COUNTY,
    Operator.STATE: JurisdictionKind.STATE,
    Operator.FEDERAL: JurisdictionKind.FEDERAL,
    Operator.TRIBAL: JurisdictionKind.TRIBAL,
}


@dataclass(frozen=True, slots=True)
class Jurisdiction:
    """One entry. `state` is the postal abbreviation, empty for ``US`` and tribes; `editions` are years."""

    code: str
    name: str
    state: str
    kind: JurisdictionKind
    editions: tuple[str, ...]

    @property
    def label(self) -> str:
        """The name with the state for counties, such as 'Franklin County, NY'."""
        return f"{self.name}, {self.state}" if self.kind is JurisdictionKind.COUNTY else self.name


class Registry:
    """All jurisdictions by code, in the order of their codes."""

    def __init__(self, edition: str, entries: Iterable[Jurisdiction]) -> None:
        self.edition = edition
        self._by_code = {entry.code: entry for entry in sorted(entries, key=lambda entry: entry.code)}
        self.sha256 = _sha256(self._by_code.values())

    def get(self, code: str) -> Jurisdiction | None:
        """The entry of a code that is valid in any edition."""
        return self._by_code.get(code)

    def fits(self, operator: Operator, code: str) -> bool:
        """Whether this operator can respond for this code. False if the code is unknown."""
        entry = self._by_code.get(code)
        return entry is not None and entry.kind is _KIND_OF[operator]

    def __contains__(self, code: object) -> bool:
        return code in self._by_code

    def __iter__(self) -> Iterator[Jurisdiction]:
        return iter(self._by_code.values())

    def __len__(self) -> int:
        return len(self._by_code)


@cache
def registry() -> Registry:
    """The registry, loaded once from the installed data. `edition` and `sha256` identify that data."""
    states = _states()
    postal = {entry.code: entry.state for entry in states}
    entries = [*_counties(postal), *states, *_tribes()]
    entries.append(Jurisdiction(FEDERAL, "United States (federal custody)", "", JurisdictionKind.FEDERAL, _editions()))
    return Registry(f"addfips-{version('addfips')}+ct2022", entries)


@dataclass(frozen=True, slots=True)
class Succession:
    """Two codes of one area. `since` is the day the successor replaced the predecessor; None if both are in use."""

    predecessor: str
    successor: str
    since: date | None

    def __str__(self) -> str:
        if self.since is None:
            return f"{self.predecessor} and {self.successor} are the same area"
        return f"{self.predecessor} is, in whole or in part, {self.successor} since {self.since}"


@cache
def successions() -> tuple[Succession, ...]:
    """Each pair of codes for the same area, or for areas that contain or contained one another."""
    return tuple(
        Succession(row["predecessor"], row["successor"], date.fromisoformat(row["since"]) if row["since"] else None)
        for row in _rows("schemas", "successions.csv")
    )


def _states() -> list[Jurisdiction]:
    """States, the District and territories. The file lists the usual name of each first."""
    first: dict[str, Jurisdiction] = {}
    for row in _rows("addfips", "states.csv"):
        entry = Jurisdiction(row["fips"], row["name"], row["postal"], JurisdictionKind.STATE, _editions())
        first.setdefault(entry.code, entry)
    return list(first.values())


def _counties(postal: dict[str, str]) -> Iterator[Jurisdiction]:
    """Each code with its name in the newest edition and its editions. ``data/counties.csv`` overrides both."""
    names: dict[str, str] = {}
    editions: dict[str, list[str]] = {}
    for year in _FILES:
        newest: dict[str, str] = {}
        for row in _rows("addfips", f"counties_{year}.csv"):
            if row["statefp"] != _NO_STATE:
                newest.setdefault(row["statefp"] + row["countyfp"], row["name"])
        names |= newest
        for code in newest:
            editions.setdefault(code, []).append(year)
    for code in names:
        if editions[code][-1] == _FILES[-1]:
            editions[code].append(_SINCE_2020)
    for row in _rows("schemas", "counties.csv"):
        names[row["code"]], editions[row["code"]] = row["name"], row["editions"].split()
    for code, name in names.items():
        yield Jurisdiction(code, name, postal[code[:2]], JurisdictionKind.COUNTY, tuple(editions[code]))


def _tribes() -> Iterator[Jurisdiction]:
    for row in _rows("schemas", "tribes.csv"):
        yield Jurisdiction(row["code"], row["name"], "", JurisdictionKind.TRIBAL, tuple(row["editions"].split()))


def _editions() -> tuple[str, ...]:
    return (*_FILES, _SINCE_2020)


def _rows(package: str, name: str) -> Iterator[dict[str, str]]:
    """The rows of a data file, without comment lines."""
    text = (files(package) / "data" / name).read_text(encoding="utf-8")
    return csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))


def _sha256(entries: Iterable[Jurisdiction]) -> str:
    """Digest over all fields: one JSON array per line, in the order of codes."""
    digest = hashlib.sha256()
    for entry in entries:
        fields = [entry.code, entry.name, entry.state, entry.kind.value, list(entry.editions)]
        digest.update(json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()
