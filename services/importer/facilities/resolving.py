"""Finds the authority that responds to a detainer, from a facility's name, state and city.

The first rule that applies decides, even if its result is a reject. docs/decisions/0022-facilities-to-jurisdictions.md
has the rules in their order, with reasons and figures.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from schemas.jurisdiction import FEDERAL, Operator
from services.importer.facilities import curated, naming
from services.importer.facilities.geography import (
    State,
    alike,
    counties_of,
    counties_spelt,
    county_named,
    has_its_seat_in,
    independent_city,
    principal_county,
    spells_city_in,
    states,
)
from services.importer.facilities.spelling import words

# The state runs all jails there, so a county in a facility's name is not the authority.
_WITHOUT_COUNTY_JAILS = frozenset({"AK", "CT", "DE", "HI", "RI", "VT", "PR", "GU", "VI", "MP", "AS"})
# What has 'correctional' in its name is a state prison there even if it has a county's name: the counties have jails.
_PRISONS_NAMED_AFTER_COUNTIES = frozenset({"NC", "VA", "WI"})


@dataclass(frozen=True, slots=True)
class Resolved:
    """`location` is the GEOID of the building's county, if the city has only one."""

    code: str
    operator: Operator
    location: str | None


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Why there is no result. `reason` is a code; `detail` is for people and contains only names of places."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class _Case:
    """A facility as in the row, its normalized name, and the counties that its city may be in."""

    facility: str
    name: str
    state: State
    city: str
    around: frozenset[str]

    @property
    def location(self) -> str | None:
        return next(iter(self.around)) if len(self.around) == 1 else None

    @property
    def states(self) -> Resolved:
        """The result for a facility of the state."""
        return Resolved(self.state.code, Operator.STATE, self.location)

    def __str__(self) -> str:
        return f"{self.facility}, {self.city}, {self.state.postal}"


@lru_cache(maxsize=1 << 14)
def resolve(facility: str, state: str, city: str) -> Resolved | Unresolved:
    """The jurisdiction of a facility, from the three names in the file. Accepts any text."""
    if not state.strip():
        return Unresolved("no-state", facility.strip())
    where = states().get(state.strip().upper())
    if where is None:
        return Unresolved("unknown-state", state.strip())
    if not (name := " ".join(words(facility))):
        return Unresolved("no-facility", state.strip())
    case = _Case(facility.strip(), name, where, city.strip(), counties_of(where.postal, city))
    findings = (found for rule in _RULES if (found := rule(case)))
    return next(findings, Unresolved("unknown-facility", str(case)))


def _curated(case: _Case) -> Resolved | Unresolved | None:
    where = case.name, case.state.postal, case.city
    return _as_decided(curated.exactly(*where) or curated.in_a_countys_name(*where), case)


def _federal(case: _Case) -> Resolved | None:
    found = bool(naming.FEDERAL.search(case.name))
    if not found and naming.FEDERAL_OFFICE.search(case.name):
        found = not naming.OTHER_OFFICE.search(case.name)
    return Resolved(FEDERAL, Operator.FEDERAL, case.location) if found else None


def _state_first(case: _Case) -> Resolved | None:
    return case.states if naming.STATE_FIRST.search(case.name) else None


def _company(case: _Case) -> Unresolved | None:
    return Unresolved("ambiguous-custody", f"{case}: run by a company") if naming.COMPANY.search(case.name) else None


def _tribe(case: _Case) -> Unresolved | None:
    return Unresolved("unknown-tribe", f"{case}: a tribal facility") if naming.TRIBE.search(case.name) else None


def _several_counties(case: _Case) -> Unresolved | None:
    several = naming.SEVERAL_COUNTIES.search(case.name)
    return Unresolved("ambiguous-county", f"{case}: a jail of several counties") if several else None


def _county(case: _Case) -> Resolved | Unresolved | None:
    """The county in the name, unless its city is elsewhere or unknown."""
    if not (named := naming.counties_named(naming.without_state(case.facility, case.state.name, case.state.postal))):
        return None
    if case.state.postal in _WITHOUT_COUNTY_JAILS:
        return _county_where_the_state_runs_all(case)
    found = {geoid for name in named if (geoid := _county_spelt(name, case))}
    if len(found) != 1:
        return Unresolved("ambiguous-county" if found else "unknown-county", str(case))
    geoid = found.pop()
    if case.around and geoid not in case.around and not has_its_seat_in(geoid, case.around):
        return Unresolved("county-does-not-fit-city", str(case))
    if not case.around and case.city and not spells_city_in(case.state.postal, case.city, geoid):
        return Unresolved("unknown-city", str(case))
    return Resolved(geoid, Operator.COUNTY, case.location)


def _county_where_the_state_runs_all(case: _Case) -> Resolved | Unresolved:
    """'SUSSEX COUNTY PRISON' is Delaware's, but a county's sheriff or police is not."""
    if naming.CUSTODY.search(case.name) and not naming.LOCAL.search(case.name.replace("COUNTY JAIL", "")):
        return case.states
    return Unresolved("no-county-jails", f"{case}: the state runs all jails there")


def _county_spelt(name: str, case: _Case) -> str | None:
    """The county of this name, else of its last words, else the only one around the city with a like spelling."""
    postal = case.state.postal
    if geoid := county_named(postal, name):
        return geoid
    for ending in naming.endings(name)[1:]:
        if geoid := naming.is_county(ending, postal, case.around):
            return geoid
    spelt = counties_spelt(postal, name)
    if case.around:
        spelt &= case.around
    return next(iter(spelt)) if len(spelt) == 1 else None


def _pattern(case: _Case) -> Resolved | Unresolved | None:
    """A curated pattern. One of state or federal prisons needs a name that does not say city, county or sheriff."""
    entry = curated.by_pattern(case.name, case.state.postal, case.city)
    if entry and entry.operator in (Operator.STATE, Operator.FEDERAL):
        municipal = naming.is_municipal(case.name, case.state.postal, case.city)
        if municipal or naming.LOCAL.search(case.name) or (entry.is_kind and _is_named_after_its_county(case)):
            return None
    return _as_decided(entry, case)


def _is_named_after_its_county(case: _Case) -> bool:
    """'ROCK ISLAND CORR CENTER' may be the county's, and 'VIRGINIA BEACH CORR CENTER' is the independent city's."""
    named = naming.BEFORE_CORR.match(case.name)
    if named is None:
        return False
    if independent_city(case.state.postal, named[1]) in case.around:
        return True
    is_county = naming.is_county(named[1], case.state.postal, case.around)
    return bool(is_county) and case.state.postal not in _PRISONS_NAMED_AFTER_COUNTIES


def _state(case: _Case) -> Resolved | None:
    postal = case.state.postal
    if naming.is_municipal(case.name, postal, case.city) or naming.LOCAL.search(case.name):
        return None
    department = naming.DEPT_OF_CORR.match(case.name)
    its = department and naming.is_of_the_state(department[1], case.state.name, postal)
    return case.states if its or naming.STATE.search(case.name) else None


def _state_runs_all(case: _Case) -> Resolved | Unresolved | None:
    """Where the state runs all jails, what is neither a city's nor a sheriff's is the state's."""
    if case.state.postal not in _WITHOUT_COUNTY_JAILS or naming.LOCAL.search(case.name):
        return None
    if " CITY JAIL" in case.name or not naming.CUSTODY.search(case.name):
        return None
    if naming.HOSPITAL.search(case.name):
        return None
    return case.states


def _regional(case: _Case) -> Unresolved | None:
    regional = naming.REGIONAL.search(case.name)
    return Unresolved("ambiguous-county", f"{case}: a regional jail") if regional else None


def _sheriff(case: _Case) -> Resolved | None:
    """A sheriff without the word 'county': of the county of this name, else of the only county of the city."""
    sheriff = naming.SHERIFF.match(case.name)
    if sheriff is None or case.state.postal in _WITHOUT_COUNTY_JAILS:
        return None
    own = independent_city(case.state.postal, sheriff[1])
    if own and own in case.around:
        return Resolved(own, Operator.CITY, case.location)
    geoid = naming.is_county(sheriff[1], case.state.postal, case.around)
    if geoid is None and counties_of(case.state.postal, sheriff[1]) == case.around:
        geoid = case.location
    return Resolved(geoid, Operator.COUNTY, case.location) if geoid else None


def _county_without_the_word(case: _Case) -> Resolved | None:
    """'PLACER JAIL' in a city of Placer County, or 'PRINCE WILLIAM' alone if no city has this name.

    A jail of a name that is both a county's and its city's has the same jurisdiction in either case.
    """
    postal = case.state.postal
    if postal in _WITHOUT_COUNTY_JAILS or naming.HOSPITAL.search(case.name):
        return None
    jail = naming.JAIL.match(case.name)
    named = jail[1] if jail else case.name
    if independent_city(postal, named) in case.around or (jail is None and counties_of(postal, named)):
        return None
    geoid = naming.is_county(named, postal, case.around)
    return Resolved(geoid, Operator.COUNTY, case.location) if geoid else None


def _city(case: _Case) -> Resolved | Unresolved | None:
    """Police and city jails: the city in the name must be the city in the row or in the same county."""
    if not (named := naming.city_named(case.name, case.city)):
        return None
    postal = case.state.postal
    own = independent_city(postal, named)
    counties = frozenset({own}) if own in case.around else _counties_of_both(named, case)
    if len(counties) > 1 and alike(named, case.city):
        principal = principal_county(postal, case.city)
        counties = frozenset({principal}) if principal else counties
    if len(counties) == 1:
        return Resolved(next(iter(counties)), Operator.CITY, case.location)
    if counties:
        return Unresolved("ambiguous-county", f"{case}: a city in {len(counties)} counties")
    if " CITY JAIL" in case.name and (geoid := _county_spelt(named, case)) and geoid in case.around:
        # 'CITY' for 'CTY': the row's city is in no county of a city of this name, but in the county of this name.
        return Resolved(geoid, Operator.COUNTY, case.location)
    known = counties_of(postal, named) or counties_of(postal, f"{named} CITY")
    return Unresolved("county-does-not-fit-city" if case.around and known else "unknown-city", str(case))


def _always_a_countys(case: _Case) -> Resolved | None:
    kind = naming.ALWAYS_A_COUNTYS.get(case.state.postal)
    found = kind and len(case.around) == 1 and kind.search(case.name)
    return Resolved(next(iter(case.around)), Operator.COUNTY, case.location) if found else None


def _hospital(case: _Case) -> Unresolved | None:
    hospital = naming.HOSPITAL.search(case.name)
    return Unresolved("hospital", f"{case}: the name does not say who guards there") if hospital else None


_RULES: tuple[Callable[[_Case], Resolved | Unresolved | None], ...] = (
    _curated,
    _federal,
    _state_first,
    _company,
    _tribe,
    _several_counties,
    _county,
    _pattern,
    _state,
    _state_runs_all,
    _regional,
    _sheriff,
    _county_without_the_word,
    _city,
    _always_a_countys,
    _hospital,
)


def _as_decided(entry: curated.Entry | None, case: _Case) -> Resolved | Unresolved | None:
    if entry is None:
        return None
    if entry.operator is None:
        return Unresolved(entry.reason, f"{case}: {entry.why}")
    return Resolved(entry.code, entry.operator, entry.location or case.location)


def _counties_of_both(named: str, case: _Case) -> frozenset[str]:
    """The counties that the named city and the row's city share. One of the two names may be misspelt."""
    own = counties_of(case.state.postal, named) or counties_of(case.state.postal, f"{named} CITY")
    if own and case.around:
        return own & case.around
    return own | case.around if alike(named, case.city) else frozenset()
