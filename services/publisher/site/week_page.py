"""What the page of a week shows, from a report and what the database has about other weeks. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, TypeAlias

from schemas.announcement import links
from services.publisher.site import maps, shapes, states, trend
from services.publisher.site.trend import Spark

Document: TypeAlias = Mapping[str, Any]
Numbers: TypeAlias = Mapping[str, int | None]
"""The newest number of each week, by the first day of the week."""

_WEEK = timedelta(days=7)
_TILE_SPARK = (36.0, 8.0)


def variables(document: Document, context: Document | None, files: Mapping[str, bytes]) -> dict[str, Any]:
    """The variables of the template `report.html`.

    `context` is what the document does not contain: `published_at`, the weeks `previous` and `next`, the `weeks` of the
    trend, the numbers of declines of other weeks for the leading `places` (by GEOID) and for `states` (by postal code),
    and the `status` of the week (None with `as_of`): provisional or final, pending facts, and the newest revision.
    `files`: the report in the other formats.
    """
    weeks = _newest(document, context)
    totals = maps.by_state(document["jurisdictions"])
    return {
        "report": document,
        "context": context,
        "main_points": trend.main_points(weeks),
        "charts": trend.charts(weeks),
        "declined_once": sum(row["declined"] == 1 for row in document["jurisdictions"]),
        "silent": sum(row["status"] == "silent" for row in document.get("scope", {}).get("agencies", ())),
        "leaders": _leaders(document, context["places"] if context and weeks else {}),
        "groups": _groups(document["jurisdictions"], totals),
        "tiles": maps.tiles(totals),
        "tile_sparks": _tile_sparks(document, context["states"] if context and weeks else {}),
        "dot_map": maps.dot_map(document["jurisdictions"]),
        "outlines": shapes.outlines(),
        "view_box": shapes.VIEW_BOX,
        "offenses": offenses(document["tables"]["offenses"]) if "tables" in document else [],
        "files": [File.of(document, form, body) for form, body in files.items()],
        "linked_data": linked_data(document, context),
    }


def _newest(document: Document, context: Document | None) -> Sequence[trend.Week]:
    """The weeks of the trend; none for a revision that is not the newest of its week, whose totals they do not show."""
    weeks: Sequence[trend.Week] = context["weeks"] if context else ()
    return weeks if weeks and weeks[-1]["revision"] == document["revision"] else ()


@dataclass(frozen=True, slots=True)
class Leader:
    """A jurisdiction with the most declines, and its numbers in the weeks before."""

    row: Mapping[str, Any]
    spark: Spark | None
    has_row_before: bool
    before: int | None
    """The number of the week before, None if it is unknown; and whether that report has a row of the jurisdiction."""
    most: int
    most_week: str
    """The greatest known number of the last 52 weeks, and the newest week with it."""


def _leaders(document: Document, places: Mapping[str, Numbers]) -> list[Leader]:
    """The rows of `top`. `places`: the declines of each of them in the year up to this week."""
    this = document["week_start"]
    before = str(date.fromisoformat(this) - _WEEK)
    found = []
    for row in document["top"]:
        numbers = {**places.get(row["geoid"], {}), this: row["declined"]}
        most, most_week = max((n, week) for week, n in numbers.items() if n is not None)
        found.append(
            Leader(row, trend.sparkline(numbers, this), before in numbers, numbers.get(before), most, most_week)
        )
    return found


def _tile_sparks(document: Document, states: Mapping[str, Numbers]) -> dict[str, Spark]:
    """A sparkline for each state with two known numbers, by postal code."""
    drawn = {state: trend.sparkline(numbers, document["week_start"], *_TILE_SPARK) for state, numbers in states.items()}
    return {state: spark for state, spark in drawn.items() if spark}


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of a state, with their subtotal. Its `anchor` is an id in the page."""

    total: maps.StateTotal
    name: str
    anchor: str
    rows: Sequence[Mapping[str, Any]]


def _groups(rows: Iterable[Mapping[str, Any]], totals: Iterable[maps.StateTotal]) -> list[Group]:
    """The rows by state, by its name; within a state, in the order of the report. Rows without a state come last."""
    by_state: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_state.setdefault(row["state"] or "", []).append(row)
    names = {postal: place.name for postal, place in states.states().items()} | {"": maps.WITHOUT_STATE}
    found = [Group(one, names[one.state], f"in-{one.state or 'no-state'}", by_state[one.state]) for one in totals]
    return sorted(found, key=lambda group: (not group.total.state, group.name))


@dataclass(frozen=True, slots=True)
class Offense:
    """The declines of persons with an offense, by its basis. 0 if there is no row of it."""

    category: str
    name: str
    charged: int
    convicted: int


def offenses(rows: Iterable[Mapping[str, Any]]) -> list[Offense]:
    """One row for each offense, those with the greatest number first."""
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows:
        counts.setdefault((row["category"], row["name"]), {})[row["basis"]] = row["n"]
    found = [Offense(*key, n.get("charged", 0), n.get("convicted", 0)) for key, n in counts.items()]
    return sorted(found, key=lambda one: (-max(one.charged, one.convicted), one.category))


@dataclass(frozen=True, slots=True)
class File:
    """The report in another format: its address, its size in bytes and its SHA-256."""

    form: str
    address: str
    size: int
    sha256: str

    @classmethod
    def of(cls, document: Document, form: str, body: bytes) -> File:
        """The file with this content."""
        address = links(date.fromisoformat(document["week_start"]), document["revision"])[form]
        return cls(form, address, len(body), hashlib.sha256(body).hexdigest())


def linked_data(document: Document, context: Document | None) -> dict[str, Any]:
    """The report as a schema.org Dataset, for search engines."""
    first, last = document["week_start"], document["week_end"]
    addresses = links(date.fromisoformat(first), document["revision"])
    types = {"json": "application/json", "csv": "text/csv"}
    return {
        "@context": "https://schema.org",
        "@type": "Dataset",
        "name": f"Weekly detainer report, {first} to {last}",
        "description": "Detainers issued, and detainers declined, in one week, by jurisdiction. A detainer is a request"
        " by a federal agency that a local jail hold a person.",
        "identifier": document["digest"],
        "version": str(document["revision"]),
        "temporalCoverage": f"{first}/{last}",
        "spatialCoverage": "United States",
        "isAccessibleForFree": True,
        "variableMeasured": ["detainers issued", "detainers declined"],
        **({"datePublished": context["published_at"]} if context else {}),
        "distribution": [
            {"@type": "DataDownload", "encodingFormat": media_type, "contentUrl": addresses[form]}
            for form, media_type in types.items()
        ],
    }
