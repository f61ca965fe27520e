"""States, counties and cities by name: the registry's counties and the ZIP code gazetteer of `zipcodes`.

The gazetteer gives each ZIP code its post office's city and the county with most of it. A city has the
counties of all its ZIP codes, so one that spills over a border is not taken to lie in one county alone.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache

import zipcodes

from schemas.jurisdiction import Jurisdiction, Kind, registry
from services.importer.ice_foia.spelling import place

# The released detainers are of 2014 and 2015; where a code changed, the one in force then.
_EDITION = "2010"
_SUFFIX = re.compile(
    r" (City and Borough|Census Area|Island District|County|Parish|Municipio|Borough|Municipality|District)$",
    re.IGNORECASE,
)
_PREFIX = re.compile(r"^(City and Borough|Municipality) of ", re.IGNORECASE)
_CITY = re.compile(r" city$", re.IGNORECASE)
# Two spellings of one name ('GREENCOVE SPRING') are this alike; two names ('SALEM', 'SELMA') are not.
_ALIKE = 0.85


@dataclass(frozen=True, slots=True)
class State:
    """A state or territory: its two-digit code and postal abbreviation."""

    code: str
    postal: str


@cache
def states() -> dict[str, State]:
    """By full name and by postal abbreviation, in upper case."""
    found = {"VIRGIN ISLANDS": State("78", "VI")}
    for entry in registry():
        if entry.kind is Kind.STATE:
            found[entry.name.upper()] = found[entry.state] = State(entry.code, entry.state)
    return found


def county_named(postal: str, name: str) -> str | None:
    """The GEOID of 'Dona Ana' or 'ST LOUIS' without its 'County'; independent cities are not counties."""
    return _counties().get((postal, place(name)))


def independent_city(postal: str, name: str) -> str | None:
    """The GEOID of a city that is its own county equivalent: Baltimore, St. Louis, Carson City, Richmond."""
    return _cities().get((postal, place(name)))


def counties_of(postal: str, city: str) -> frozenset[str]:
    """The GEOIDs of all counties that the city's ZIP codes lie in; empty for a city not in the gazetteer."""
    key = (postal, place(city))
    return _gazetteer().get(key) or _other_names().get(key) or frozenset()


def alike(one: str, other: str) -> bool:
    """Whether two names differ by no more than a slip of spelling."""
    left, right = place(one), place(other)
    return bool(left and right) and SequenceMatcher(None, left, right, autojunk=False).ratio() >= _ALIKE


def spells_city_in(postal: str, city: str, county: str) -> bool:
    """Whether `city`, which the gazetteer lacks, is a misspelt city of this very county."""
    return any(alike(city, name) for name in _names_in().get((postal, county), ()))


def _entries() -> list[Jurisdiction]:
    """County entries, those in force in 2010 last, so that they win a name that two codes have had."""
    counties = [entry for entry in registry() if entry.kind is Kind.COUNTY]
    return sorted(counties, key=lambda entry: _EDITION in entry.editions)


@cache
def _counties() -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for entry in _entries():
        if not _CITY.search(entry.name):
            found[entry.state, place(_SUFFIX.sub("", entry.name))] = entry.code
    return found


@cache
def _cities() -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for entry in _entries():
        if _CITY.search(entry.name):
            found[entry.state, place(_CITY.sub("", entry.name))] = entry.code
            found[entry.state, place(entry.name)] = entry.code
    return found


def _geoid(postal: str, county: str) -> str | None:
    """The gazetteer's county: 'Fairfax city', 'La Porte County', 'Carolina', 'Municipality of Anchorage'."""
    county = _PREFIX.sub("", county)
    if _CITY.search(county):
        return _cities().get((postal, place(county))) or _counties().get((postal, place(county)))
    return _counties().get((postal, place(_SUFFIX.sub("", county))))


@cache
def _zip_codes() -> list[tuple[str, str, str, tuple[str, ...]]]:
    """(state, city, county's GEOID, other names) of each ZIP code whose county is known."""
    found = []
    for entry in zipcodes.list_all():
        geoid = _geoid(entry["state"], entry["county"])
        if geoid:
            others = (*entry["acceptable_cities"], *entry["unacceptable_cities"])
            found.append((entry["state"], entry["city"], geoid, others))
    return found


@cache
def _gazetteer() -> dict[tuple[str, str], frozenset[str]]:
    """Counties by the post office's own city."""
    found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for postal, city, geoid, _ in _zip_codes():
        found[postal, place(city)].add(geoid)
    return {key: frozenset(geoids) for key, geoids in found.items()}


@cache
def _other_names() -> dict[tuple[str, str], frozenset[str]]:
    """Counties by the other names that mail to a ZIP code bears: suburbs and neighborhoods."""
    found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for postal, _, geoid, others in _zip_codes():
        for name in others:
            found[postal, place(name)].add(geoid)
    return {key: frozenset(geoids) for key, geoids in found.items()}


@cache
def _names_in() -> dict[tuple[str, str], frozenset[str]]:
    """City names by county."""
    found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for postal, city, geoid, others in _zip_codes():
        found[postal, geoid].update((city, *others))
    return {key: frozenset(names) for key, names in found.items()}
