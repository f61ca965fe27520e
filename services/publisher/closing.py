"""When a week closes: on evidence, not on event time. Pure; `now` and everything seen is an argument.

The barrier is each partition's end offset, seen once after grace and stored: a lower bound of what the report covers.
A partition without data has the barrier it already stands at; an event stamped next year moves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from schemas.week import ReportingCalendar, ReportingWeek

Offsets = Mapping[str, Mapping[str, int]]
"""Topic, partition (as text, for JSON), next offset."""


class State(StrEnum):
    """Where a week is on its way. A week without a row is open."""

    OPEN = "open"
    REQUESTED = "requested"
    DRAINING = "draining"
    HALTED = "halted"
    HELD = "held"
    CLOSED = "closed"
    PUBLISHED = "published"
    FINAL = "final"


TRANSITIONS: Mapping[tuple[State, State], str] = {
    (State.OPEN, State.REQUESTED): "an operator asked for a week of the past",
    (State.OPEN, State.DRAINING): "its end and the grace have passed; the barrier is set",
    (State.REQUESTED, State.DRAINING): "the barrier is set",
    (State.DRAINING, State.HALTED): "the log ends before the barrier",
    (State.HELD, State.HALTED): "the log ends before the barrier",
    (State.HALTED, State.DRAINING): "the log reaches the barrier again",
    (State.DRAINING, State.HELD): "a gate says so",
    (State.HELD, State.CLOSED): "released, or the deadline has passed, or no gate holds it any more",
    (State.DRAINING, State.CLOSED): "each position is at the barrier and no gate holds it",
    (State.CLOSED, State.PUBLISHED): "the report is on the topic",
    (State.PUBLISHED, State.FINAL): "the time for restatements is over",
    **{
        (state, State.PUBLISHED): "`ddor recover`: it was published, and the database had lost it"
        for state in (State.OPEN, State.REQUESTED, State.DRAINING, State.HALTED, State.HELD)
    },
}
"""Every change of state that can happen, and why. Each one that does is a row of week_transition."""

WRITTEN = frozenset({State.CLOSED, State.PUBLISHED, State.FINAL})
"""The states of a week whose first report is written."""


@dataclass(frozen=True, slots=True)
class Close:
    """A week on its way, as the database has it."""

    state: State
    barrier: Offsets | None = None
    held_until: datetime | None = None
    released: bool = False

    def holds(self, now: datetime) -> bool:
        """Whether a soft gate still holds the week: not released, and the deadline not passed."""
        return not self.released and (self.held_until is None or now < self.held_until)


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
    """All evidence is there: prove, ask the gates, write the report."""

    week: ReportingWeek


Step = Wait | CaptureBarrier | Drain | Publish


@dataclass(frozen=True, slots=True)
class Known:
    """The rules of closing, and how far each week is."""

    calendar: ReportingCalendar
    first_week: date
    grace: timedelta
    closes: Mapping[date, Close]

    @property
    def next_by_itself(self) -> ReportingWeek:
        """The first week, from `first_week` on, that is not written."""
        week = self.calendar.week(self.first_week)
        while (close := self.closes.get(week.first)) is not None and close.state in WRITTEN:
            week = self.calendar.next(week)
        return week

    @property
    def due(self) -> datetime:
        """When that week closes."""
        return self.next_by_itself.ends_at + self.grace


def next_step(known: Known, positions: Offsets, halted: Sequence[str], now: datetime) -> Step:
    """What the publisher does now. Weeks that an operator asked for go first, then from `first_week` on in order.

    None closes before it has ended, whoever asks: a part of a week would pass for the whole.

    `halted` are the partitions that stand still until an operator acts. They hold a week like a gate does: once it is
    released, or its deadline has passed, it goes out without what they lack, and says so. A week of the past that is
    held lets the others pass.
    """
    calendar, closes = known.calendar, known.closes
    asked = sorted(
        week
        for week, close in closes.items()
        if week < known.first_week and close.state not in WRITTEN and calendar.week(week).ends_at <= now
    )
    held = [week for week in asked if closes[week].state is State.HELD and closes[week].holds(now)]
    if going := [week for week in asked if week not in held]:
        return _advance(calendar.week(going[0]), closes, positions, halted)
    if now >= known.due:
        return _advance(known.next_by_itself, closes, positions, halted)
    return _advance(calendar.week(held[0]), closes, positions, halted) if held else Wait(known.due)


def provisional_since(known: Known, provisional: timedelta, now: datetime) -> datetime:
    """A week whose first revision was published at or after this instant is restated; one before it becomes final.

    Counted back on the wall clock, from now or from when the next close is due: how long a close takes, and summer
    time, decide nothing.
    """
    return (min(now, known.due).astimezone(known.calendar.zone) - provisional).astimezone(UTC)


def _advance(week: ReportingWeek, closes: Mapping[date, Close], positions: Offsets, halted: Sequence[str]) -> Step:
    close = closes.get(week.first)
    if close is None or close.barrier is None:
        return CaptureBarrier(week)
    behind = shortfall(close.barrier, positions)
    moving = {partition: lacks for partition, lacks in behind.items() if partition not in halted}
    return Drain(week, moving) if moving else Publish(week)


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
