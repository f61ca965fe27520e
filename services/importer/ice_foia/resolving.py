"""From a facility's name, state and city to the authority that answers the detainer.

The rules, in this order; the first that applies decides, also when it decides that nothing is known:
1. a row of the curated tables for this very name;
2. federal custody: marshals, the Bureau of Prisons, immigration's own and contract places -> ``US``;
3. the county in the name, if the city lies in it -> that county;
4. a curated pattern, mostly how a state names its prisons -> the state;
5. state prisons that say so -> the state;
6. a regional jail -> nothing, because no one county answers for it;
7. a city's police or jail -> the one county that the city lies in (for an independent city, itself).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from schemas.jurisdiction import FEDERAL, Operator
from services.importer.ice_foia import curated
from services.importer.ice_foia.places import (
    State,
    alike,
    counties_of,
    county_named,
    independent_city,
    spells_city_in,
    states,
)
from services.importer.ice_foia.spelling import words

_FEDERAL = re.compile(
    r"\bUS MARSHALL?S?\b|\bUSMS\b|\bUS PEN|\bHOLD ?ROOM|\bCONTRACT DET\b|\bMET DET CENTER\b"
    r"|\bFEDERAL (CORR|DET|MED|TRANSFER|PRISON|CONTRACT)"
    r"|\b(FCI|FCC|FMC|FDC|FPC|MCC|USP|SPC|BSCC|BOP|DRO|INS)\b"
)
_STATE = re.compile(
    r"\b(STATE|ST) (PRISON|JAIL|PEN|PENN|PENT|P|PENITENTIARY|CORR)\b|\bPENITENTIAR|\bDEPT OF CORR\b|\bDOC\b"
)
_REGIONAL = re.compile(r"\bREGIONAL (JAIL|DET)|^TRI COUNTY\b")
_POLICE = re.compile(r"^(?:(?:CITY|TOWN|VILLAGE) OF )?(.+?)(?: TOWNSHIP)? POLICE\b")
_CITY_JAIL = re.compile(r"^CITY OF (.+) (?:JAIL|DET)\b|^(.+?)( CITY)? JAIL$")
_SEGMENT = re.compile(r"[/,()-]")
# One department of the state runs all jails there, so a county in a facility's name runs nothing.
_WITHOUT_COUNTY_JAILS = frozenset({"AK", "CT", "DE", "HI", "RI", "VT"})


@dataclass(frozen=True, slots=True)
class Resolved:
    """`location` is the GEOID of the building's county when the city alone tells it."""

    code: str
    operator: Operator
    location: str | None


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Why nothing is said, as a code; `detail` is for people and names nothing but places."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class _Case:
    """A facility as the row has it, its spelt name, and the counties that its city may lie in."""

    facility: str
    name: str
    state: State
    city: str
    around: frozenset[str]

    @property
    def location(self) -> str | None:
        return next(iter(self.around)) if len(self.around) == 1 else None

    def __str__(self) -> str:
        return f"{self.facility}, {self.city}, {self.state.postal}"


@lru_cache(maxsize=1 << 14)
def resolve(facility: str, state: str, city: str) -> Resolved | Unresolved:
    """The jurisdiction of a facility, from the three names as the file has them. Never raises on any text."""
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
    return _as_decided(curated.exactly(case.name, case.state.postal, case.city), case)


def _federal(case: _Case) -> Resolved | None:
    return Resolved(FEDERAL, Operator.FEDERAL, case.location) if _FEDERAL.search(case.name) else None


def _county(case: _Case) -> Resolved | Unresolved | None:
    """The county that the name spells out, unless its city lies elsewhere or is not to be found."""
    named = _names_before_county(case.facility)
    found = {geoid for name in named if (geoid := county_named(case.state.postal, name))}
    if not named:
        return None
    if case.state.postal in _WITHOUT_COUNTY_JAILS:
        return Unresolved("no-county-jails", f"{case}: the state runs all jails there")
    if len(found) != 1:
        return Unresolved("ambiguous-county" if found else "unknown-county", str(case))
    geoid = found.pop()
    if case.around and geoid not in case.around:
        return Unresolved("county-does-not-fit-city", str(case))
    if not case.around and not spells_city_in(case.state.postal, case.city, geoid):
        return Unresolved("unknown-city", str(case))
    return Resolved(geoid, Operator.COUNTY, case.location)


def _pattern(case: _Case) -> Resolved | Unresolved | None:
    return _as_decided(curated.by_pattern(case.name, case.state.postal), case)


def _state(case: _Case) -> Resolved | None:
    return Resolved(case.state.code, Operator.STATE, case.location) if _STATE.search(case.name) else None


def _regional(case: _Case) -> Unresolved | None:
    return Unresolved("ambiguous-county", f"{case}: a regional jail") if _REGIONAL.search(case.name) else None


def _city(case: _Case) -> Resolved | Unresolved | None:
    """Police and city jails: the city in the name must be the one in the row or lie in the same county."""
    if not (named := _city_named(case.name, case.city)):
        return None
    own = independent_city(case.state.postal, named)
    counties = frozenset({own}) if own in case.around else _counties_of_both(named, case)
    if len(counties) == 1:
        return Resolved(next(iter(counties)), Operator.CITY, case.location)
    if counties:
        return Unresolved("ambiguous-county", f"{case}: a city in {len(counties)} counties")
    known = case.around and counties_of(case.state.postal, named)
    return Unresolved("county-does-not-fit-city" if known else "unknown-city", str(case))


_RULES: tuple[Callable[[_Case], Resolved | Unresolved | None], ...] = (
    _curated,
    _federal,
    _county,
    _pattern,
    _state,
    _regional,
    _city,
)


def _as_decided(entry: curated.Entry | None, case: _Case) -> Resolved | Unresolved | None:
    if entry is None:
        return None
    if entry.operator is None:
        return Unresolved(entry.reason, f"{case}: {entry.why}")
    return Resolved(entry.code, entry.operator, entry.location or case.location)


def _names_before_county(facility: str) -> list[str]:
    """'SILVERDALE/HAMILTON COUNTY' names HAMILTON; the CO of 'EL PASO COUNTY JAIL (CO)' is Colorado."""
    found = []
    for segment in _SEGMENT.split(facility):
        spelt = words(segment)
        ends = [spelt.index(word, 1) for word in ("COUNTY", "PARISH") if word in spelt[1:]]
        if ends:
            found.append(" ".join(spelt[: min(ends)]))
    return found


def _city_named(name: str, city: str) -> str | None:
    """'OKLAHOMA CITY JAIL' names Oklahoma City there, Oklahoma elsewhere; 'X JAIL' is a city's in X alone."""
    if police := _POLICE.search(name):
        return police[1]
    if not (jail := _CITY_JAIL.search(name)):
        return None
    if jail[1]:
        return jail[1]
    if jail[3]:
        return jail[2] + jail[3] if alike(jail[2] + jail[3], city) else jail[2]
    return jail[2] if alike(jail[2], city) else None


def _counties_of_both(named: str, case: _Case) -> frozenset[str]:
    """The counties that the named city and the row's city share; one of them may be misspelt but not both."""
    own = counties_of(case.state.postal, named)
    if own and case.around:
        return own & case.around
    return own | case.around if alike(named, case.city) else frozenset()
