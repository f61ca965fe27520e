"""The year of weekly totals up to a week: main points in sentences, and charts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median
from typing import Any, TypeAlias

KINDS = ("issued", "declined")
WIDTH, HEIGHT = 480, 150
"""The size of a chart's drawing, in pixels."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 12, 24
_WEEK = timedelta(days=7)
_YEAR = 52
SPARK_WEEKS = 12

Week: TypeAlias = Mapping[str, Any]
"""A published week: week, revision, issued, declined, first_issued, first_declined (of revision 1), provisional."""


def main_points(weeks: Sequence[Week]) -> dict[str, list[str]]:
    """Sentences that compare the last of these weeks with those before, by kind.

    `weeks` are in order; weeks without a report are missing. A sentence without its data is omitted, and so is a kind
    without a sentence.
    """
    return {kind: points for kind in KINDS if weeks and (points := _points(weeks, kind))}


def _points(weeks: Sequence[Week], kind: str) -> list[str]:
    known = {date.fromisoformat(one["week"]): one for one in weeks}
    this = date.fromisoformat(weeks[-1]["week"])
    n = weeks[-1][kind]
    points = []
    if before := known.get(this - _WEEK):
        points.append(f"{_difference(n - before[kind])} the week before ({_revised(before, kind)}).")
    if four := _consecutive(known, this, 4):
        points.append(f"Mean of the last 4 weeks: {_decimal(sum(one[kind] for one in four) / 4)}.")
    if year := _consecutive(known, this, _YEAR):
        most = max(year, key=lambda one: one[kind])
        middle = _decimal(median(one[kind] for one in year))
        points.append(f"Median of the last 52 weeks: {middle}. Maximum: {most[kind]:,}, in the week of {most['week']}.")
    if last_year := known.get(this - _YEAR * _WEEK):
        points.append(f"Same week of the year before ({last_year['week']}): {last_year[kind]:,}.")
    return points


def _decimal(n: float) -> str:
    """With one decimal place, unless that is 0."""
    return f"{n:,.1f}".removesuffix(".0")


def _difference(n: int) -> str:
    return f"{abs(n):,} {'more' if n > 0 else 'fewer'} than in" if n else "As many as in"


def _revised(week: Week, kind: str) -> str:
    """The newest number of a week, and the number of its first report if that differs."""
    n, first = week[kind], week[f"first_{kind}"]
    return f"{n:,}" if n == first else f"{n:,}, revised from {first:,}"


def _consecutive(known: Mapping[date, Week], last: date, count: int) -> list[Week] | None:
    """The `count` weeks up to `last`, or None if one is missing."""
    found = [known.get(last - number * _WEEK) for number in reversed(range(count))]
    present = [one for one in found if one is not None]
    return present if len(present) == count else None


@dataclass(frozen=True, slots=True)
class Point:
    """A week in a chart: its place, its newest number, and the number of its first report."""

    x: float
    y: float
    week: str
    n: int
    first: int | None
    is_revised: bool
    is_provisional: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """A line of weekly numbers of one kind. A missing week interrupts it. The vertical axis begins at 0."""

    kind: str
    points: Sequence[Point]
    lines: Sequence[str]
    """The `points` attribute of each uninterrupted part of the line."""
    top: int
    """The number at the upper end of the axis."""


def charts(weeks: Sequence[Week]) -> list[Chart]:
    """A chart of each kind that has two known numbers. `weeks` are as in `main_points`; an unknown number is None.

    The horizontal axis has 53 weeks, the last at its end. Earlier weeks are omitted.
    """
    if not weeks:
        return []
    last = date.fromisoformat(weeks[-1]["week"])
    year = [one for one in weeks if last - date.fromisoformat(one["week"]) <= _YEAR * _WEEK]
    known = {kind: [one for one in year if one[kind] is not None] for kind in KINDS}
    return [_chart(known[kind], kind, last) for kind in KINDS if len(known[kind]) > 1]


def _chart(weeks: Sequence[Week], kind: str, last: date) -> Chart:
    top = _round_up(max(one[kind] for one in weeks))
    points: list[Point] = []
    parts: list[list[str]] = []
    former: date | None = None
    for one in weeks:
        day = date.fromisoformat(one["week"])
        x = WIDTH - _RIGHT - (last - day) / _WEEK * (WIDTH - _LEFT - _RIGHT) / _YEAR
        y = _TOP + (1 - one[kind] / top) * (HEIGHT - _TOP - _BOTTOM)
        first = one[f"first_{kind}"]
        is_revised = first not in (None, one[kind])
        point = Point(round(x, 1), round(y, 1), one["week"], one[kind], first, is_revised, one["provisional"])
        points.append(point)
        if former is None or day - former != _WEEK:
            parts.append([])
        parts[-1].append(f"{point.x},{point.y}")
        former = day
    return Chart(kind, points, [" ".join(part) for part in parts if len(part) > 1], top)


@dataclass(frozen=True, slots=True)
class Spark:
    """A small line without an axis: the numbers of the last weeks, from 0 at the bottom to the greatest at the top."""

    lines: Sequence[str]
    """The `points` attribute of each uninterrupted part of the line."""
    width: float
    height: float


def sparkline(numbers: Mapping[str, int | None], last: str, width: float = 72, height: float = 14) -> Spark | None:
    """The line of the SPARK_WEEKS weeks up to `last`, in a box of this size in pixels.

    `numbers` are by the first day of the week; a missing or unknown number interrupts the line. None if it has no part.
    """
    end = date.fromisoformat(last)
    days = [str(end - back * _WEEK) for back in reversed(range(SPARK_WEEKS))]
    known = [numbers.get(day) for day in days]
    top = max((n for n in known if n is not None), default=0) or 1
    parts: list[list[str]] = [[]]
    for place, n in enumerate(known):
        if n is None:
            parts.append([])
        else:
            x, y = 1 + place * (width - 2) / (SPARK_WEEKS - 1), 1 + (1 - n / top) * (height - 2)
            parts[-1].append(f"{x:.4g},{y:.4g}")
    lines = [" ".join(part) for part in parts if len(part) > 1]
    return Spark(lines, width, height) if lines else None


def _round_up(n: int) -> int:
    """The next round number: one or two digits and zeros, so that a line uses at least two thirds of the height."""
    step = 1
    while True:
        for tenths in (10, 20, 30, 40, 50, 60, 80) if step == 1 else (10, 12, 15, 20, 25, 30, 40, 50, 60, 80):
            if 10 * n <= tenths * step:
                return tenths * step // 10
        step *= 10
