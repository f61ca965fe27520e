"""When a week closes: on evidence, not on event time. Pure; `now` and everything seen is an argument.

    open ── end + grace passed, or an operator asked ──> draining ── each position is at the barrier ──> published

The barrier is each partition's end offset, seen once after grace and stored: a lower bound of what the report covers.
A partition without data has the barrier it already stands at; an event stamped next year moves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from schemas.week import ReportingCalendar, ReportingWeek

Offsets = Mapping[str, Mapping[str, int]]
"""Topic, partition (as text, for JSON), next offset."""


@dataclass(frozen=True, slots=True)
class Close:
    """A week on its way, as the database has it."""

    state: Literal["requested", "draining", "published"]
    barrier: Offsets | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is due before this instant."""

    until: datetime


@dataclass(frozen=True, slots=True)
class CaptureBarrier:
    """See the end offsets and store them."""

    week: ReportingWeek


@dataclass(frozen=True, slots=True)
class Drain:
    """Wait for the aggregator: `behind` says how many records each partition lacks."""

    week: ReportingWeek
    behind: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Publish:
    """All evidence is there: build the report."""

    week: ReportingWeek


Step = Wait | CaptureBarrier | Drain | Publish


def next_step(
    *,
    calendar: ReportingCalendar,
    first_week: date,
    grace: timedelta,
    closes: Mapping[date, Close],
    positions: Offsets,
    now: datetime,
) -> Step:
    """What the publisher does now. Weeks that an operator asked for go first, then from `first_week` on in order."""
    asked = sorted(week for week, close in closes.items() if week < first_week and close.state != "published")
    if asked:
        return _advance(calendar.week(asked[0]), closes, positions)
    week = next_by_itself(calendar, first_week, closes)
    due = week.ends_at + grace
    return Wait(due) if now < due else _advance(week, closes, positions)


def next_by_itself(calendar: ReportingCalendar, first_week: date, closes: Mapping[date, Close]) -> ReportingWeek:
    """The earliest week from `first_week` on that is not published."""
    week = calendar.week(first_week)
    while (close := closes.get(week.first)) is not None and close.state == "published":
        week = calendar.next(week)
    return week


def _advance(week: ReportingWeek, closes: Mapping[date, Close], positions: Offsets) -> Step:
    close = closes.get(week.first)
    if close is None or close.barrier is None:
        return CaptureBarrier(week)
    behind = shortfall(close.barrier, positions)
    return Drain(week, behind) if behind else Publish(week)


def shortfall(barrier: Offsets, positions: Offsets) -> dict[str, int]:
    """For each partition whose position is below the barrier, by how many offsets."""
    missing = {
        f"{topic}/{partition}": end - positions.get(topic, {}).get(partition, 0)
        for topic, partitions in barrier.items()
        for partition, end in partitions.items()
    }
    return {partition: offsets for partition, offsets in missing.items() if offsets > 0}


def lost(barrier: Offsets, ends: Offsets) -> list[str]:
    """Partitions whose log now ends below the barrier: records that were there are gone (LogLost)."""
    return [
        f"{topic}/{partition}"
        for topic, partitions in barrier.items()
        for partition, end in partitions.items()
        if ends.get(topic, {}).get(partition, 0) < end
    ]
