"""The states and the sums of their jurisdictions. Pure.

A sum covers the known numbers only; beside it is the number of unknown ones. Jurisdictions without a row in a report
are in neither: no event of them was counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from schemas.jurisdiction import Jurisdiction, JurisdictionKind, registry
from services.publisher.site.trend import KINDS

Row: TypeAlias = Mapping[str, Any]
NUMBERS = ("issued", "declined", "unknown_issued", "unknown_declined")


@cache
def states() -> Mapping[str, Jurisdiction]:
    """The states, the District and the territories, by postal abbreviation. Each is the entry of its own custody."""
    found = [one for one in registry() if one.kind is JurisdictionKind.STATE]
    return {one.state: one for one in sorted(found, key=lambda one: one.name)}


@cache
def postal_codes() -> Mapping[str, str]:
    """The postal abbreviation of each state by its FIPS code."""
    return {one.code: postal for postal, one in states().items()}


def places(postal: str) -> list[Jurisdiction]:
    """The state's own custody, then its counties of all editions, by code."""
    return sorted((one for one in registry() if one.state == postal), key=lambda one: (len(one.code), one.code))


def elsewhere() -> list[Jurisdiction]:
    """Federal custody and the tribes: jurisdictions of no state."""
    return [one for one in registry() if not one.state]


def label(place: Jurisdiction) -> str:
    """The name on the page of its state, where the custody of the state is not the whole state."""
    return f"{place.name} (state custody)" if place.kind is JurisdictionKind.STATE else place.name


def week(row: Row) -> dict[str, Any]:
    """What a week of the query `sums` has besides `series.week`. A sum is None if no number is known."""
    return {name: row[name] for name in ("jurisdictions", *NUMBERS)}


def document(state: Jurisdiction, rows: Iterable[Row], kinds: Sequence[str]) -> dict[str, Any]:
    """The sums of a state as JSON, from rows of the query `sums`."""
    weeks = [
        {"week": str(row["week"]), "revision": row["revision"], "jurisdictions": row["jurisdictions"]}
        | {name: row[name] for kind in kinds for name in (kind, f"unknown_{kind}")}
        for row in rows
    ]
    return {"state": state.state, "name": state.name, "weeks": weeks}


@dataclass(frozen=True, slots=True)
class Year:
    """A row of the query `year_of_places`: a jurisdiction in the newest week, and in the 52 weeks up to it."""

    place: Jurisdiction
    row: Row


def years(found: Iterable[Jurisdiction], rows: Iterable[Row]) -> list[Year]:
    """The rows of these jurisdictions, in their order. Jurisdictions without a row are omitted."""
    by_code = {row["geoid"]: row for row in rows}
    return [Year(one, by_code[one.code]) for one in found if one.code in by_code]


@dataclass(frozen=True, slots=True)
class Total:
    """Sums of a state in the newest week and, in `year`, in the 52 weeks up to it.

    `jurisdictions` have a row in the newest week. `unknown_issued` and `unknown_declined` count unknown numbers.
    """

    state: Jurisdiction
    jurisdictions: int
    newest: Mapping[str, int | None]
    year: Mapping[str, int | None]


def totals(rows: Sequence[Row]) -> list[Total]:
    """A total for each state, by name; also for states without a row."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if place := registry().get(row["geoid"]):
            groups.setdefault(place.state, []).append(row)
    return [_total(state, groups.get(postal, [])) for postal, state in states().items()]


def _total(state: Jurisdiction, rows: Sequence[Row]) -> Total:
    newest: dict[str, int | None] = {}
    year: dict[str, int | None] = {}
    reported = [row for row in rows if row["reported"]]
    for kind in KINDS:
        newest[kind] = _sum(row[kind] for row in reported)
        newest[f"unknown_{kind}"] = sum(row[kind] is None for row in reported)
        year[kind] = _sum(row[f"year_{kind}"] for row in rows)
        year[f"unknown_{kind}"] = sum(row[f"unknown_{kind}"] for row in rows)
    return Total(state, len(reported), newest, year)


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [n for n in numbers if n is not None]
    return sum(known) if known else None
