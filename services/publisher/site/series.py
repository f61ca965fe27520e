"""The published figures of one jurisdiction, week by week. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.jurisdiction import Jurisdiction, Succession, registry, successions
from services.publisher.closing import State
from services.publisher.site import trend


def week(row: Mapping[str, Any], *, is_current: bool) -> dict[str, Any]:
    """A week of a series or of the trend, from a row of the query `series` or `trend`.

    Whether a week was provisional at an earlier instant is not known; then it is not shown as provisional.
    """
    numbers = {name: row[name] for name in ("revision", "issued", "declined", "first_issued", "first_declined")}
    return {"week": str(row["week"]), **numbers, "provisional": is_current and row["state"] != State.FINAL}


def by_place(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, dict[str, int | None]]:
    """The declines of each place by week. Each row comes with its place, and has week and declined."""
    found: dict[str, dict[str, int | None]] = {}
    for place, row in rows:
        found.setdefault(place, {})[str(row["week"])] = row["declined"]
    return found


def document(
    place: Jurisdiction, rows: Iterable[Mapping[str, Any]], kinds: Sequence[str] = trend.KINDS
) -> dict[str, Any]:
    """The series as JSON. A number is null if it is unknown, or if the report has no row of the jurisdiction."""
    weeks = [
        {"week": str(row["week"]), "revision": row["revision"], "reported": row["reported"]}
        | {kind: row[kind] for kind in kinds}
        for row in rows
    ]
    return {"geoid": place.code, "name": place.name, "state": place.state, "weeks": weeks}


@dataclass(frozen=True, slots=True)
class Related:
    """Jurisdictions that readers may confuse with one: namesakes, and other codes of the same area."""

    namesakes: Sequence[Jurisdiction]
    successions: Sequence[Succession]


def related(place: Jurisdiction) -> Related:
    """The namesakes of a jurisdiction, in the order of their codes, and the codes that replaced it or that it replaced.

    Another code of the same name and state, such as that of a former county, is no namesake.
    """
    same = [one for one in registry() if one.name == place.name and one.state != place.state]
    return Related(same, [one for one in successions() if place.code in (one.predecessor, one.successor)])
