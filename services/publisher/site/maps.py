"""Places the jurisdictions of a report on a map and in a grid of states. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from services.publisher.site import shapes

Row: TypeAlias = Mapping[str, Any]
LARGEST_RADIUS = 28.0
"""The radius, in pixels, of the largest number's circle. The areas of circles are proportional to their numbers."""
SMALLEST_RADIUS = 2.0
UNKNOWN, NO_ROW = "U", "·"
WITHOUT_STATE = "Federal custody and tribes"


@dataclass(frozen=True, slots=True)
class Circle:
    """The circle of one jurisdiction."""

    x: int
    y: int
    radius: float
    row: Row


@dataclass(frozen=True, slots=True)
class DotMap:
    """Circles, largest first, and the rows with a number that have no place on the map."""

    circles: Sequence[Circle]
    not_shown: Sequence[Row]


def dot_map(rows: Iterable[Row], kind: str = "declined") -> DotMap:
    """A circle for each county with a number above 0. State and federal custody, tribes and islands are not shown."""
    counted = sorted((row for row in rows if row[kind]), key=lambda row: (-row[kind], row["geoid"]))
    points = shapes.points()
    largest = max((row[kind] for row in counted if row["geoid"] in points), default=1)
    circles = [
        Circle(*points[row["geoid"]], max(SMALLEST_RADIUS, LARGEST_RADIUS * math.sqrt(row[kind] / largest)), row)
        for row in counted
        if row["geoid"] in points
    ]
    return DotMap(circles, [row for row in counted if row["geoid"] not in points])


@dataclass(frozen=True, slots=True)
class StateTotal:
    """The sums of the known numbers of a state's rows. None if no number of that kind is known.

    `state` is the postal code; empty for federal custody and tribes.
    """

    state: str
    jurisdictions: int
    issued: int | None
    declined: int | None


def by_state(rows: Iterable[Row]) -> list[StateTotal]:
    """A subtotal for each state with a row, by postal code. Rows without a state come last."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["state"] or "", []).append(row)
    return [
        StateTotal(state, len(groups[state]), _sum(groups[state], "issued"), _sum(groups[state], "declined"))
        for state in sorted(groups, key=lambda state: (not state, state))
    ]


def _sum(rows: Iterable[Row], kind: str) -> int | None:
    known = [row[kind] for row in rows if row[kind] is not None]
    return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class Tile:
    """A state in the grid. `text` is its number, U (unknown) or · (no row in the report)."""

    state: str
    column: int
    row: int
    text: str


def tiles(totals: Iterable[StateTotal], kind: str = "declined") -> list[Tile]:
    """A tile for each state and the District of Columbia, by postal code."""
    numbers = {total.state: getattr(total, kind) for total in totals}
    return [
        Tile(state, column, row, NO_ROW if state not in numbers else _text(numbers[state]))
        for state, (column, row) in shapes.tiles().items()
    ]


def _text(number: int | None) -> str:
    return UNKNOWN if number is None else f"{number:,}"
