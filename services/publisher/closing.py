"""Decides when a week closes, from offsets and not from event times. Pure: `now` and all state are arguments.

The barrier is the end offset of each partition, read once after the grace period and stored. The report covers at least
all records below it. A partition without new data is already at its barrier, and an event with a time in the future has
no effect on the close.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from schemas.log import Partition, Vector
from schemas.week import ReportingCalendar, ReportingWeek


class State(StrEnum):
    """The state of a week. A week without a row in `week_close` is open."""

    OPEN = "open"
    REQUESTED = "requested"
    DRAINING = "draining"
    HALTED = "halted"
    HELD = "held"
    CLOSED = "closed"
    PUBLISHED = "published"
    FINAL = "final"


TRANSITIONS: Mapping[tuple[State, State], str] = {
    (State.OPEN, State.REQUESTED): "an operator requested a week of the past",
    (State.OPEN, State.DRAINING): "its end and the grace have passed; the barrier is set",
    (State.REQUESTED, State.DRAINING): "the barrier is set",
    (State.DRAINING, State.HALTED): "the log ends before the barrier",
    (State.HELD, State.HALTED): "the log ends before the barrier",
    (State.HALTED, State.DRAINING): "the log reaches the barrier again",
    (State.DRAINING, State.HELD): "a gate holds the week",
    (State.HELD, State.CLOSED): "released, or the deadline has passed, or no gate holds it any longer",
    (State.DRAINING, State.CLOSED): "each position is at the barrier and no gate holds the week",
    (State.CLOSED, State.PUBLISHED): "the report is on the topic",
    (State.PUBLISHED, State.FINAL): "the restatement period is over",
    **{
        (state, State.PUBLISHED): "`ddor recover`: the report was published, and the database had lost it"
        for state in (State.OPEN, State.REQUESTED, State.DRAINING, State.HALTED, State.HELD)
    },
}
"""All permitted changes of state, and the default reason of each. Each change is a row of `week_transition`."""

WRITTEN = frozenset({State.CLOSED, State.PUBLISHED, State.FINAL})
"""The states of a week that has a report."""


@dataclass(frozen=True, slots=True)
class Close:
    """The row of a week in `week_close`."""

    state: State
    barrier: Vector | None = None
    held_until: datetime | None = None
    released: bool = False

    def holds(self, now: datetime) -> bool:
        """Whether a gate may still hold the week: it is not released, and its deadline has not passed."""
        return not self.released and (self.held_until is None or now < self.held_until)


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is due before this instant."""

    until: datetime


@dataclass(frozen=True, slots=True)
class CaptureBarrier:
    """Read the end offsets and store them as the barrier."""

    week: ReportingWeek


@dataclass(frozen=True, slots=True)
class Drain:
    """Wait for the aggregator. `shortfall` is the number of offsets that each partition lacks."""

    week: ReportingWeek
    shortfall: Mapping[Partition, int]


@dataclass(frozen=True, slots=True)
class Publish:
    """Each position is at the barrier: prove the counts, evaluate the gates, write the report."""

    week: ReportingWeek


Step = Wait | CaptureBarrier | Drain | Publish


@dataclass(frozen=True, slots=True)
class Schedule:
    """The schedule of closes, and the state of each week."""

    calendar: ReportingCalendar
    first_week: date
    grace: timedelta
    closes: Mapping[date, Close]

    @property
    def next_scheduled(self) -> ReportingWeek:
        """The earliest week from `first_week` on that has no report."""
        week = self.calendar.week(self.first_week)
        while (close := self.closes.get(week.first)) is not None and close.state in WRITTEN:
            week = self.calendar.next(week)
        return week

    @property
    def due(self) -> datetime:
        """When that week closes, in UTC."""
        return self.next_scheduled.ends_at + self.grace


def next_step(schedule: Schedule, positions: Vector, halted: Collection[Partition], now: datetime) -> Step:
    """The next step of the publisher. Requested weeks come first, then the weeks from `first_week` on in order.

    No week closes before its end, even on request: the report would cover only a part of the week.

    `halted` partitions make no progress until an operator resumes them. They do not delay the close. A gate holds the
    week for them; after a release or the deadline the report is published without their records, with a flag. A
    requested week that is held does not block other weeks.
    """
    calendar, closes = schedule.calendar, schedule.closes
    requested = sorted(
        week
        for week, close in closes.items()
        if week < schedule.first_week and close.state not in WRITTEN and calendar.week(week).ends_at <= now
    )
    held = [week for week in requested if closes[week].state is State.HELD and closes[week].holds(now)]
    if ready := [week for week in requested if week not in held]:
        return _advance(calendar.week(ready[0]), closes, positions, halted)
    if now >= schedule.due:
        return _advance(schedule.next_scheduled, closes, positions, halted)
    return _advance(calendar.week(held[0]), closes, positions, halted) if held else Wait(schedule.due)


def provisional_since(schedule: Schedule, provisional: timedelta, now: datetime) -> datetime:
    """The start of the restatement period: weeks first published before this instant become final.

    The period is subtracted in local time from the earlier of `now` and the next due close. Neither the duration of a
    close nor daylight saving time changes the result.
    """
    return (min(now, schedule.due).astimezone(schedule.calendar.zone) - provisional).astimezone(UTC)


def _advance(
    week: ReportingWeek, closes: Mapping[date, Close], positions: Vector, halted: Collection[Partition]
) -> Step:
    close = closes.get(week.first)
    if close is None or close.barrier is None:
        return CaptureBarrier(week)
    shortfall = close.barrier.shortfall(positions)
    draining = {partition: offsets for partition, offsets in shortfall.items() if partition not in halted}
    return Drain(week, draining) if draining else Publish(week)
