"""Who answers a detainer: the registry of jurisdictions and the codes that name them.

A county or county equivalent has its five-digit GEOID (FIPS), a state or territory two digits, a tribe the
four-digit Census code of its reservation, federal custody ``US``. Names never identify: there are 31 counties
called Washington.

Sources: Census files in the package `addfips`, corrected by ``data/counties.csv``, and ``data/tribes.csv``.
A code valid in any edition is accepted and stays as it was sent: nobody can say which of two successors of a
split county answered a detainer, and last year's report must not change when a code is retired.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.metadata import version
from importlib.resources import files

FEDERAL = "US"
TRIBAL_DIGITS = 4
"""The length of a tribe's code; no other code has it."""

# The files in addfips. 2022 differs from 2020 in Connecticut alone, which data/counties.csv states.
_FILES = ("2000", "2010", "2015", "2020")
_SINCE_2020 = "2022"
# The uninhabited Minor Outlying Islands are no state: addfips lists Midway with the counties.
_NO_STATE = "74"


class Kind(StrEnum):
    """What a code names."""

    COUNTY = "county"
    STATE = "state"
    FEDERAL = "federal"
    TRIBAL = "tribal"


class Operator(StrEnum):
    """Who holds the person. A city's jail is counted to the county, so it is an operator and no kind."""

    COUNTY = "county"
    CITY = "city"
    STATE = "state"
    FEDERAL = "federal"
    TRIBAL = "tribal"


_KIND_OF = {
    Operator.COUNTY: Kind.COUNTY,
    Operator.CITY: Kind.COUNTY,
    Operator.STATE: Kind.STATE,
    Operator.FEDERAL: Kind.FEDERAL,
    Operator.TRIBAL: Kind.TRIBAL,
}


@dataclass(frozen=True, slots=True)
class Jurisdiction:
    """One entry: `state` is the postal abbreviation, empty for ``US`` and tribes; `editions` are years."""

    code: str
    name: str
    state: str
    kind: Kind
    editions: tuple[str, ...]

    @property
    def label(self) -> str:
        """The name as people must read it: 'Franklin County, NY'."""
        return f"{self.name}, {self.state}" if self.kind is Kind.COUNTY else self.name


class Registry:
    """All jurisdictions, by code, in the order of codes."""

    def __init__(self, edition: str, entries: Iterable[Jurisdiction]) -> None:
        self.edition = edition
        self._by_code = {entry.code: entry for entry in sorted(entries, key=lambda entry: entry.code)}
        self.sha256 = _sha256(self._by_code.values())

    def get(self, code: str) -> Jurisdiction | None:
        """The entry of a code that is valid in any edition."""
        return self._by_code.get(code)

    def fits(self, operator: Operator, code: str) -> bool:
        """Whether this operator can answer for this code; false when the code is unknown."""
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
    """The registry, read once from the installed data. Its `edition` and `sha256` say which data that was."""
    states = _states()
    postal = {entry.code: entry.state for entry in states}
    entries = [*_counties(postal), *states, *_tribes()]
    entries.append(Jurisdiction(FEDERAL, "United States (federal custody)", "", Kind.FEDERAL, _editions()))
    return Registry(f"addfips-{version('addfips')}+ct2022", entries)


def _states() -> list[Jurisdiction]:
    """States, the District and territories. Of several names the file gives the usual one first."""
    first: dict[str, Jurisdiction] = {}
    for row in _rows("addfips", "states.csv"):
        entry = Jurisdiction(row["fips"], row["name"], row["postal"], Kind.STATE, _editions())
        first.setdefault(entry.code, entry)
    return list(first.values())


def _counties(postal: dict[str, str]) -> Iterator[Jurisdiction]:
    """The newest edition's name for each code, with the editions that have it; our own table overrides."""
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
        yield Jurisdiction(code, name, postal[code[:2]], Kind.COUNTY, tuple(editions[code]))


def _tribes() -> Iterator[Jurisdiction]:
    for row in _rows("schemas", "tribes.csv"):
        yield Jurisdiction(row["code"], row["name"], "", Kind.TRIBAL, tuple(row["editions"].split()))


def _editions() -> tuple[str, ...]:
    return (*_FILES, _SINCE_2020)


def _rows(package: str, name: str) -> Iterator[dict[str, str]]:
    """The rows of a data file, without the lines of comment on top."""
    text = (files(package) / "data" / name).read_text(encoding="utf-8")
    return csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))


def _sha256(entries: Iterable[Jurisdiction]) -> str:
    """Digest of one JSON array a line, in the order of codes: any change of any field changes it."""
    digest = hashlib.sha256()
    for entry in entries:
        fields = [entry.code, entry.name, entry.state, entry.kind.value, list(entry.editions)]
        digest.update(json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()
