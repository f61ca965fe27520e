"""True detainers, from a seed: what released files say about them, and how each of them counts.

The rates are those of the released files or higher, so that a small number of detainers has each case. Nothing here
uses the importer: `Detainer` states the result, and a test compares the import with it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

FIRST: Final = date(2022, 10, 1)
LAST: Final = date(2026, 2, 28)
REDACTED: Final = "<redacted>"
"""A cell with a mark of a FOIA exemption; each file spells it in many ways."""


class Place(NamedTuple):
    """A facility and the authority that responds to its detainers; `jurisdiction` is empty if no rule decides."""

    facility: str
    code: str
    state: str
    city: str
    jurisdiction: str


class Lift(NamedTuple):
    """A lift reason, and its result."""

    reason: str | None
    code: str | None = None
    declined: bool = False
    withdrawn: str = ""


PLACES: Final = (
    Place("CLARK COUNTY JAIL", "CLARKNV", "NEVADA", "LAS VEGAS", "32003"),
    Place("HARRIS COUNTY JAIL", "HARRITX", "TEXAS", "HOUSTON", "48201"),
    Place("TRAVIS COUNTY JAIL", "TRAVITX", "TEXAS", "AUSTIN", "48453"),
    Place("COOK COUNTY JAIL", "COOKCIL", "ILLINOIS", "CHICAGO", "17031"),
    Place("ORANGE COUNTY JAIL", "ORANGFL", "FLORIDA", "ORLANDO", "12095"),
    Place("ORANGE COUNTY JAIL", "ORANGCA", "CALIFORNIA", "SANTA ANA", "06059"),
    Place("STEARNS COUNTY JAIL", "STEARMN", "MINNESOTA", "ST CLOUD", "27145"),
    Place("MINN.C.F.,ST.CLOUD", "MNCFSTC", "MINNESOTA", "ST. CLOUD", "27"),
    Place("FCI BUTNER", "BUTNENC", "NORTH CAROLINA", "BUTNER", "US"),
)
MISSPELT: Final = (
    Place("STERNS COUNTY JAIL", "STEARMN", "MINNESOTA", "ST. CLOUD", "27145"),
    Place("HARRIS CO JAIL", "HARRITX", "TEXAS", "HUOSTON", "48201"),
    Place("ATLANTIS COUNTY JAIL", "ATLANTX", "TEXAS", "HOUSTON", ""),
)
FORMS: Final = (
    "I247A - Immigration Detainer - Notice of Action (as of May 2025)",
    "I247A - Immigration Detainer - Immigration Detainer - Notice of Action",
    "I-247A - Immigration Detainer - Notice of Action",
    "I247D - Immigration Detainer - Request for Voluntary Action",
    "I247N - Request for Voluntary Notification of Release",
)
BOOKED: Final = Lift("Booked into Detention", "B")
OPEN: Final = Lift(None)
DECLINED: Final = Lift("Detainer Declined by LEA", "A", declined=True)
DUPLICATE: Final = Lift("Duplicate", withdrawn="duplicate-record")
SUPERSEDED: Final = Lift("Superseding - New Form Issued", withdrawn="superseded-by-new-form")
_LIFTS: Final = {
    BOOKED: 45, OPEN: 24, DECLINED: 8, DUPLICATE: 3, SUPERSEDED: 4, Lift("Case Closed"): 5, Lift("Early Release"): 2,
    Lift("No longer in State, Local, or Federal Custody"): 4, Lift("Prosecutorial Discretion"): 2, Lift("Lifted"): 2,
    Lift(REDACTED): 1,
}  # fmt: skip
_COUNTRIES = ("MEXICO", "GUATEMALA", "HONDURAS", "IVORY COAST", "BURMA", "CHINA, PEOPLES REPUBLIC OF", "STATELESS")
_CHARGES = ("5404", "0999", "1304", "35AA", "3599", "5203", "5499", None)
_CRIMINALITY = ("1 Convicted Criminal", "2 Pending Criminal Charges", "3 Other Immigration Violator")
NO_IDENTIFIER: Final = 0.125
NO_STATE, UNKNOWN_LIFT, BAD_DATE, MISSPELT_PLACE, REDACTED_CELL, EQUAL_ROW = 0.01, 0.01, 0.005, 0.03, 0.02, 0.03
GONE, NEW, CHANGED, RENAMED = 0.02, 0.05, 0.03, 0.01
"""What a later release does with the detainers of an earlier one."""


@dataclass(frozen=True, slots=True)
class Detainer:
    """A detainer: the cells of its row by field, and the result of its import.

    `number` is the same in both releases. `rejected` names the field that makes the row a reject.
    """

    number: int
    day: date
    cells: dict[str, Any]
    jurisdiction: str
    kind: str
    declined: bool
    withdrawn: str
    rejected: str


def detainers(count: int, seed: int = 1) -> list[Detainer]:
    """The detainers of a release, in the order of their days; some rows are equal."""
    rng = random.Random(seed)
    days = (LAST - FIRST).days + 1
    made: list[Detainer] = []
    for number in range(count):
        if made and rng.random() < EQUAL_ROW:
            made.append(replace(made[-1], number=number))
        else:
            made.append(_detainer(number, FIRST + timedelta(days=number * days // count), rng))
    return made


def _detainer(number: int, day: date, rng: random.Random) -> Detainer:
    place = rng.choice(MISSPELT) if rng.random() < MISSPELT_PLACE else rng.choice(PLACES)
    (lift,) = rng.choices(list(_LIFTS), list(_LIFTS.values()))
    (form,) = rng.choices(FORMS, (40, 30, 10, 10, 10))
    cells: dict[str, Any] = {
        "prepare_date": day, "facility": place.facility, "facility_code": place.code, "state": place.state,
        "city": place.city, "lift_reason": lift.reason, "lift_reason_code": lift.code, "detainer_type": form,
        "notify_release": rng.choice(("YES", "NO", None)), "citizenship": rng.choice(_COUNTRIES),
        "criminality": rng.choice(_CRIMINALITY), "charge_code": rng.choice(_CHARGES),
        "identifier": f"{rng.getrandbits(160):040x}", "birth_year": rng.randrange(1950, 2008),
        "birth_country": rng.choice(_COUNTRIES), "gender": rng.choice(("Male", "Female")),
    }  # fmt: skip
    for field in ("citizenship", "criminality", "charge_code", "facility_code", "birth_country"):
        if rng.random() < REDACTED_CELL:
            cells[field] = REDACTED
    if rng.random() < NO_IDENTIFIER:
        cells["identifier"] = rng.choice((None, REDACTED))
    rejected = "" if place.jurisdiction else "facility"
    spoiled: Sequence[tuple[float, str, Any]] = (
        (NO_STATE, "state", None),
        (UNKNOWN_LIFT, "lift_reason", rng.choice(("Released to Sponsor", "Detainer Declined"))),
        (BAD_DATE, "prepare_date", rng.choice((None, date(1900, 1, 1), REDACTED))),
    )
    for rate, field, value in spoiled:
        if not rejected and rng.random() < rate:
            cells[field], rejected = value, field
    kind = "notification" if form == FORMS[-1] else "issued"
    return Detainer(number, day, cells, place.jurisdiction, kind, lift.declined, lift.withdrawn, rejected)


@dataclass(frozen=True, slots=True)
class Later:
    """A later release of the same detainers, and the numbers of those that it treats otherwise.

    `renamed` have another identifier and are the same detainers all the same.
    """

    detainers: list[Detainer]
    gone: frozenset[int]
    new: frozenset[int]
    changed: frozenset[int]
    renamed: frozenset[int]


def later(earlier: Sequence[Detainer], seed: int = 2) -> Later:
    """A release in which some detainers are gone, new, changed or renamed: only those that differ from all others."""
    rng = random.Random(seed)
    seen = Counter(_person(one) for one in earlier)
    kept: list[Detainer] = []
    fates: dict[str, set[int]] = {"gone": set(), "new": set(), "changed": set(), "renamed": set()}
    for one in earlier:
        fate = _fate(one, rng) if seen[_person(one)] == 1 else ""
        if fate:
            fates[fate].add(one.number)
        if fate != "gone":
            kept.append(_altered(one, fate, rng))
        fresh = _detainer(len(earlier) + one.number, one.day, rng)
        if rng.random() < NEW and not seen[_person(fresh)] and not fresh.rejected and _is_named(fresh):
            seen[_person(fresh)] += 1
            fates["new"].add(fresh.number)
            kept.append(fresh)
    return Later(kept, *(frozenset(fates[name]) for name in ("gone", "new", "changed", "renamed")))


def _fate(one: Detainer, rng: random.Random) -> str:
    if one.rejected or not _is_named(one):
        return ""
    chance = rng.random()
    if chance < GONE:
        return "gone"
    if chance < GONE + RENAMED:
        return "renamed"
    is_open = not one.declined and not one.withdrawn
    return "changed" if is_open and chance < GONE + RENAMED + CHANGED else ""


def _altered(one: Detainer, fate: str, rng: random.Random) -> Detainer:
    if fate == "renamed":
        return replace(one, cells={**one.cells, "identifier": f"{rng.getrandbits(160):040x}"})
    if fate == "changed":
        lift = rng.choice((DECLINED, DECLINED, SUPERSEDED))
        cells = {**one.cells, "lift_reason": lift.reason, "lift_reason_code": lift.code}
        return replace(one, cells=cells, declined=lift.declined, withdrawn=lift.withdrawn)
    return one


def _is_named(one: Detainer) -> bool:
    return one.cells["identifier"] not in (None, REDACTED)


def _person(one: Detainer) -> tuple[Any, ...]:
    """What both releases say of a person; equal for detainers that only their identifiers can tell apart."""
    steady = (one.cells[field] for field in ("citizenship", "birth_country", "birth_year", "gender"))
    return (one.day, one.jurisdiction, one.kind, *steady)
