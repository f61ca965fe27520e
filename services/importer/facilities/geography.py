"""States, counties and cities by name, from the registry's counties and the ZIP code gazetteer `zipcodes`.

The gazetteer has, for each ZIP code, the city of its post office and the county with most of its area. A city has the
counties of all its ZIP codes, so a city that crosses a border belongs to several counties.
"""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache

import zipcodes

from schemas.jurisdiction import Jurisdiction, JurisdictionKind, registry
from services.importer.facilities.spelling import close, place_key

# The released detainers are of 2014 and 2015. If a code has changed, use the one in force then.
_EDITION = "2010"
_SUFFIX = re.compile(
    r" (City and Borough|Census Area|Island District|County|Parish|Municipio|Borough|Municipality|District)$",
    re.IGNORECASE,
)
_PREFIX = re.compile(r"^(City and Borough|Municipality) of ", re.IGNORECASE)
_CITY = re.compile(r" city$", re.IGNORECASE)
# Two spellings of one name ('GREENCOVE SPRING') are at least this similar; two names ('SALEM', 'SELMA') are not.
_ALIKE = 0.85
# A city belongs to one county if that county has this share of at least that number of ZIP codes.
_PRINCIPAL_SHARE, _FEWEST_ZIP_CODES = 0.9, 10
# Independent cities in which the county around them has its courthouse and jail (Census county subdivisions, 2010).
_SEATS = {
    "24005": {"24510"},
    "29189": {"29510"},
    "51003": {"51540"},
    "51005": {"51580"},
    "51015": {"51790", "51820"},
    "51019": {"51515"},
    "51053": {"51730"},
    "51059": {"51600"},
    "51069": {"51840"},
    "51081": {"51595"},
    "51087": {"51760"},
    "51089": {"51690"},
    "51143": {"51590"},
    "51149": {"51670", "51730"},
    "51153": {"51683"},
    "51161": {"51770", "51775"},
    "51163": {"51678"},
    "51165": {"51660"},
    "51175": {"51620"},
    "51177": {"51630"},
    "51195": {"51720"},
}


@dataclass(frozen=True, slots=True)
class State:
    """A state or territory: its two-digit code, postal abbreviation and name in upper case."""

    code: str
    postal: str
    name: str


@cache
def states() -> dict[str, State]:
    """The states by full name and by postal abbreviation, in upper case."""
    found = {"VIRGIN ISLANDS": State("78", "VI", "VIRGIN ISLANDS")}
    for entry in registry():
        if entry.kind is JurisdictionKind.STATE:
            name = entry.name.upper()
            found[name] = found[entry.state] = State(entry.code, entry.state, name)
    return found


def county_named(postal: str, name: str) -> str | None:
    """The GEOID of a county by its name without 'County', such as 'Dona Ana'. Independent cities are no counties."""
    return _counties().get((postal, place_key(name)))


def independent_city(postal: str, name: str) -> str | None:
    """The GEOID of a city that is its own county equivalent: Baltimore, St. Louis, Carson City, Richmond."""
    return _cities().get((postal, place_key(name)))


def counties_of(postal: str, city: str) -> frozenset[str]:
    """The GEOIDs of the counties of the city's ZIP codes. Empty if the gazetteer does not have the city."""
    key = (postal, place_key(city))
    return _gazetteer().get(key) or _other_names().get(key) or frozenset()


def alike(one: str, other: str) -> bool:
    """Whether two names differ only by a spelling error."""
    left, right = place_key(one), place_key(other)
    if not left or not right:
        return False
    return close(left, right) or SequenceMatcher(None, left, right, autojunk=False).ratio() >= _ALIKE


def spells_city_in(postal: str, city: str, county: str) -> bool:
    """Whether `city`, which the gazetteer lacks, is a misspelt or shortened city of this county, or its name."""
    key = place_key(city)
    if county_named(postal, city) == county:
        return True
    names = _names_in().get((postal, county), ())
    return any(alike(city, name) or (key and place_key(name) == f"{key}CITY") for name in names)


def counties_spelt(postal: str, name: str) -> frozenset[str]:
    """The GEOIDs of the state's counties whose name `name` may misspell."""
    return frozenset(
        geoid for (state, key), geoid in _counties().items() if state == postal and close(key, place_key(name))
    )


def has_its_seat_in(county: str, cities: frozenset[str]) -> bool:
    """Whether the county has its courthouse in one of these independent cities, which is outside the county."""
    return bool(_SEATS.get(county, frozenset()) & cities)


def principal_county(postal: str, city: str) -> str | None:
    """The GEOID of the county that has a city's name or nearly all of its ZIP codes. New York City has none."""
    counts = _zip_codes_of().get((postal, place_key(city)))
    if not counts or (postal, place_key(city)) == ("NY", "NEWYORK"):
        return None
    if (same := county_named(postal, city)) in counts:
        return same
    if counts.total() < _FEWEST_ZIP_CODES:
        return None
    geoid, count = counts.most_common(1)[0]
    return geoid if count >= _PRINCIPAL_SHARE * counts.total() else None


def _entries() -> list[Jurisdiction]:
    """The counties, with those in force in 2010 last, so that these take precedence if two codes have one name."""
    counties = [entry for entry in registry() if entry.kind is JurisdictionKind.COUNTY]
    return sorted(counties, key=lambda entry: _EDITION in entry.editions)


@cache
def _counties() -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for entry in _entries():
        if not _CITY.search(entry.name):
            found[entry.state, place_key(_SUFFIX.sub("", entry.name))] = entry.code
    return found


@cache
def _cities() -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for entry in _entries():
        if _CITY.search(entry.name):
            found[entry.state, place_key(_CITY.sub("", entry.name))] = entry.code
            found[entry.state, place_key(entry.name)] = entry.code
    return found


def _geoid(postal: str, county: str) -> str | None:
    """The GEOID of a county as the gazetteer writes it: 'Fairfax city' or 'Municipality of Anchorage'."""
    county = _PREFIX.sub("", county)
    if _CITY.search(county):
        return _cities().get((postal, place_key(county))) or _counties().get((postal, place_key(county)))
    return _counties().get((postal, place_key(_SUFFIX.sub("", county))))


@cache
def _zip_codes() -> list[tuple[str, str, str, tuple[str, ...]]]:
    """State, city, county's GEOID and other names of each ZIP code with a known county."""
    found = []
    for entry in zipcodes.list_all():
        geoid = _geoid(entry["state"], entry["county"])
        if geoid:
            others = (*entry["acceptable_cities"], *entry["unacceptable_cities"])
            found.append((entry["state"], entry["city"], geoid, others))
    return found


@cache
def _gazetteer() -> dict[tuple[str, str], frozenset[str]]:
    """Counties by the city of the post office."""
    found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for postal, city, geoid, _ in _zip_codes():
        found[postal, place_key(city)].add(geoid)
    return {key: frozenset(geoids) for key, geoids in found.items()}


@cache
def _zip_codes_of() -> dict[tuple[str, str], Counter[str]]:
    """How many ZIP codes of a city are in which county."""
    found: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for postal, city, geoid, _ in _zip_codes():
        found[postal, place_key(city)][geoid] += 1
    return dict(found)


@cache
def _other_names() -> dict[tuple[str, str], frozenset[str]]:
    """Counties by the other names in use for a ZIP code: suburbs and neighborhoods."""
    found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for postal, _, geoid, others in _zip_codes():
        for name in others:
            found[postal, place_key(name)].add(geoid)
    return {key: frozenset(geoids) for key, geoids in found.items()}


@cache
def _names_in() -> dict[tuple[str, str], frozenset[str]]:
    """City names by county."""
    found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for postal, city, geoid, others in _zip_codes():
        found[postal, geoid].update((city, *others))
    return {key: frozenset(names) for key, names in found.items()}
