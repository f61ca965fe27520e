"""services.publisher.closing: the states of weeks, with a clock that the test sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pytest

from schemas.log import Partition, Vector
from services.publisher import closing
from services.publisher.closing import CaptureBarrier, Close, Drain, Publish, Schedule, State, Step, Wait
from tests.support.batches import CALENDAR

GRACE = timedelta(hours=24)
FIRST = date(2017, 1, 28)
SECOND = date(2017, 2, 4)
DUE = datetime(2017, 2, 5, 5, tzinfo=UTC)
"""When the first week has ended and grace has passed."""

ISSUED_0, DECLINED_0 = Partition("detainer-issued", 0), Partition("detainer-declined", 0)
EMPTY = Vector.from_json({"detainer-issued": {"0": 0, "1": 0}, "detainer-declined": {"0": 0}})
READ = Vector.from_json({"detainer-issued": {"0": 10, "1": 0}, "detainer-declined": {"0": 3}})
WEEK = timedelta(days=7)


@dataclass
class Life:
    """A publisher without a database. It performs each step and records the order."""

    ends: Vector = field(default_factory=lambda: READ)
    positions: Vector = field(default_factory=lambda: READ)
    closes: dict[date, Close] = field(default_factory=dict)
    halted: tuple[Partition, ...] = ()
    done: list[str] = field(default_factory=list)

    def step(self, now: datetime) -> Step:
        found = closing.next_step(Schedule(CALENDAR, FIRST, GRACE, self.closes), self.positions, self.halted, now)
        match found:
            case CaptureBarrier(week):
                self.done.append(f"barrier {week}")
                self.closes[week.first] = Close(State.DRAINING, self.ends)
            case Publish(week):
                self.done.append(f"publish {week}")
                self.closes[week.first] = Close(State.PUBLISHED, self.closes[week.first].barrier)
            case Wait() | Drain():
                pass
        return found

    def run(self, now: datetime) -> Step:
        """Step until nothing more is due."""
        while isinstance(found := self.step(now), CaptureBarrier | Publish):
            pass
        return found


def test_nothing_happens_before_the_week_has_ended_and_grace_has_passed() -> None:
    life = Life()
    for now in (DUE - 10 * WEEK, DUE - GRACE, DUE - timedelta(microseconds=1)):
        assert life.run(now) == Wait(DUE)
    assert life.done == []


def test_at_the_end_of_grace_the_barrier_is_captured_and_the_week_published() -> None:
    life = Life()
    assert isinstance(life.step(DUE), CaptureBarrier)
    assert isinstance(life.step(DUE), Publish)
    assert life.run(DUE) == Wait(DUE + WEEK)
    assert life.done == ["barrier 2017-01-28", "publish 2017-01-28"]


def test_a_week_of_summer_time_is_due_by_local_midnight() -> None:
    life = Life(closes={FIRST + WEEK * n: Close(State.PUBLISHED, EMPTY) for n in range(7)})
    assert life.run(DUE) == Wait(datetime(2017, 3, 26, 4, tzinfo=UTC))


def test_grace_is_real_hours() -> None:
    found = closing.next_step(Schedule(CALENDAR, date(2017, 3, 4), GRACE, {}), EMPTY, (), DUE)
    assert found == Wait(datetime(2017, 3, 12, 5, tzinfo=UTC)), "clocks change during grace"


def test_it_waits_until_every_position_has_reached_the_barrier() -> None:
    life = Life(positions=Vector.from_json({"detainer-issued": {"0": 9, "1": 0}, "detainer-declined": {"0": 1}}))
    assert life.run(DUE) == Drain(CALENDAR.week(FIRST), {DECLINED_0: 2, ISSUED_0: 1})
    life.positions = Vector.from_json({"detainer-issued": {"0": 10, "1": 0}, "detainer-declined": {"0": 2}})
    assert life.run(DUE + GRACE) == Drain(CALENDAR.week(FIRST), {DECLINED_0: 1})
    life.positions = READ
    assert isinstance(life.step(DUE + GRACE), Publish)


def test_positions_beyond_the_barrier_are_evidence_too() -> None:
    life = Life(positions=Vector.from_json({"detainer-issued": {"0": 99, "1": 5}, "detainer-declined": {"0": 3}}))
    life.run(DUE)
    assert life.done[-1] == "publish 2017-01-28"


def test_the_barrier_is_captured_once_though_the_log_grows() -> None:
    life = Life(positions=EMPTY)
    life.run(DUE)
    life.ends = Vector.from_json({"detainer-issued": {"0": 1_000, "1": 1_000}, "detainer-declined": {"0": 1_000}})
    life.run(DUE + GRACE)
    assert life.done == ["barrier 2017-01-28"]
    life.positions = READ
    assert isinstance(life.step(DUE + GRACE), Publish)


def test_partitions_without_data_do_not_delay_the_close() -> None:
    life = Life(ends=EMPTY, positions=EMPTY)
    life.run(DUE)
    assert life.done == ["barrier 2017-01-28", "publish 2017-01-28"]


def test_a_partition_without_a_position_delays_the_close() -> None:
    life = Life(positions=Vector.from_json({"detainer-issued": {"0": 10, "1": 0}}))
    assert life.run(DUE) == Drain(CALENDAR.week(FIRST), {DECLINED_0: 3})


def test_an_empty_partition_without_a_position_does_not_delay_the_close() -> None:
    assert EMPTY.shortfall(Vector()) == {}


def test_weeks_close_in_order_and_empty_ones_too() -> None:
    life = Life()
    assert life.run(DUE + 3 * WEEK) == Wait(DUE + 4 * WEEK)
    weeks = ["2017-01-28", "2017-02-04", "2017-02-11", "2017-02-18"]
    assert life.done == [f"{step} {week}" for week in weeks for step in ("barrier", "publish")]


def test_a_week_that_cannot_close_delays_the_next() -> None:
    life = Life(positions=EMPTY)
    assert isinstance(life.run(DUE + 3 * WEEK), Drain)
    assert life.done == ["barrier 2017-01-28"]


def test_a_clock_that_is_set_back_publishes_nothing_twice() -> None:
    life = Life()
    life.run(DUE)
    before = list(life.done)
    assert life.run(DUE - WEEK) == Wait(DUE + WEEK)
    assert life.run(DUE) == Wait(DUE + WEEK)
    assert life.done == before


def test_a_clock_that_is_set_back_while_draining_keeps_the_barrier() -> None:
    life = Life(positions=EMPTY)
    life.run(DUE)
    assert life.run(DUE - timedelta(seconds=1)) == Wait(DUE)
    life.positions = READ
    life.run(DUE)
    assert life.done == ["barrier 2017-01-28", "publish 2017-01-28"]


def test_weeks_before_the_first_close_only_on_request() -> None:
    life = Life()
    requested = FIRST - 4 * WEEK
    life.closes[requested] = Close(State.REQUESTED)
    life.run(DUE - WEEK)
    assert life.done == [f"barrier {requested}", f"publish {requested}"], "and without grace"
    life.run(DUE)
    assert life.done[2:] == ["barrier 2017-01-28", "publish 2017-01-28"]


def test_requested_weeks_close_first_oldest_first() -> None:
    life = Life(closes={FIRST - WEEK: Close(State.REQUESTED), FIRST - 5 * WEEK: Close(State.REQUESTED)})
    life.run(DUE)
    published = [one for one in life.done if one.startswith("publish")]
    assert published == [f"publish {FIRST - 5 * WEEK}", f"publish {FIRST - WEEK}", f"publish {FIRST}"]


def test_a_requested_week_waits_for_its_end_without_delaying_others() -> None:
    """The report would permanently cover only a part of the week."""
    ends_at = DUE - GRACE
    earlier = FIRST - WEEK
    known = Schedule(CALENDAR, SECOND, GRACE, {FIRST: Close(State.REQUESTED), earlier: Close(State.REQUESTED)})
    step = closing.next_step(known, READ, (), ends_at - timedelta(microseconds=1))
    assert step == CaptureBarrier(CALENDAR.week(earlier))
    known = Schedule(CALENDAR, SECOND, GRACE, {FIRST: Close(State.REQUESTED)})
    assert closing.next_step(known, READ, (), ends_at - timedelta(microseconds=1)) == Wait(DUE + WEEK)
    assert closing.next_step(known, READ, (), ends_at) == CaptureBarrier(CALENDAR.week(FIRST))


def test_a_requested_week_needs_the_same_evidence() -> None:
    life = Life(positions=EMPTY, closes={FIRST - WEEK: Close(State.REQUESTED)})
    assert isinstance(life.run(DUE), Drain)
    assert life.done == [f"barrier {FIRST - WEEK}"]


def test_a_request_does_not_close_a_scheduled_week_early() -> None:
    life = Life(closes={FIRST: Close(State.REQUESTED), SECOND: Close(State.REQUESTED)})
    assert life.run(DUE - timedelta(seconds=1)) == Wait(DUE)
    life.run(DUE)
    assert life.done == ["barrier 2017-01-28", "publish 2017-01-28"]


def test_an_earlier_first_week_closes_the_omitted_weeks() -> None:
    life = Life(closes={SECOND: Close(State.PUBLISHED, EMPTY)})
    life.run(DUE + WEEK)
    assert life.done == ["barrier 2017-01-28", "publish 2017-01-28"]


@pytest.mark.parametrize(
    ("ends", "lost"),
    [
        (READ, []),
        (Vector.from_json({"detainer-issued": {"0": 11, "1": 5}, "detainer-declined": {"0": 3}}), []),
        (Vector.from_json({"detainer-issued": {"0": 9, "1": 0}, "detainer-declined": {"0": 3}}), [ISSUED_0]),
        (Vector.from_json({"detainer-issued": {"0": 10, "1": 0}}), [DECLINED_0]),
        (Vector(), [DECLINED_0, ISSUED_0]),
    ],
)
def test_a_log_that_ends_below_the_barrier_is_lost(ends: Vector, lost: list[Partition]) -> None:
    assert list(READ.shortfall(ends)) == lost


def test_a_halted_partition_does_not_delay_the_gates() -> None:
    life = Life(positions=Vector.from_json({"detainer-issued": {"0": 9, "1": 0}, "detainer-declined": {"0": 1}}))
    life.halted = (DECLINED_0,)
    assert life.run(DUE) == Drain(CALENDAR.week(FIRST), {ISSUED_0: 1})
    life.positions = Vector.from_json({"detainer-issued": {"0": 10, "1": 0}, "detainer-declined": {"0": 1}})
    assert isinstance(life.step(DUE), Publish)


UNTIL = DUE + timedelta(hours=24)


@pytest.mark.parametrize(
    ("close", "now", "holds"),
    [
        (Close(State.DRAINING, READ), DUE, True),
        (Close(State.HELD, READ, UNTIL), UNTIL - timedelta(seconds=1), True),
        (Close(State.HELD, READ, UNTIL), UNTIL, False),
        (Close(State.HELD, READ, UNTIL, released=True), DUE, False),
    ],
)
def test_a_gate_holds_until_it_is_released_or_its_deadline_passes(close: Close, now: datetime, holds: bool) -> None:
    assert close.holds(now) == holds


def test_a_held_past_week_does_not_delay_others() -> None:
    past = FIRST - 4 * WEEK
    life = Life(closes={past: Close(State.HELD, READ, UNTIL), FIRST - WEEK: Close(State.REQUESTED)})
    assert life.step(DUE) == CaptureBarrier(CALENDAR.week(FIRST - WEEK))
    assert life.step(DUE) == Publish(CALENDAR.week(FIRST - WEEK))
    assert life.step(DUE) == CaptureBarrier(CALENDAR.week(FIRST))
    assert life.step(DUE) == Publish(CALENDAR.week(FIRST))
    assert life.step(DUE) == Publish(CALENDAR.week(past)), "nothing else is due: its gates are checked again"
    life.closes[past] = Close(State.HELD, READ, UNTIL)
    assert life.step(UNTIL) == Publish(CALENDAR.week(past))


def test_a_held_week_delays_the_next() -> None:
    life = Life(closes={FIRST: Close(State.HELD, READ, DUE + 3 * WEEK)})
    assert life.step(DUE + 2 * WEEK) == Publish(CALENDAR.week(FIRST))


@pytest.mark.parametrize("state", sorted(closing.WRITTEN))
def test_a_written_week_is_done(state: State) -> None:
    assert Life(closes={FIRST: Close(state, READ)}).step(DUE) == Wait(DUE + WEEK)


@pytest.mark.parametrize("first", [FIRST, date(2017, 10, 14), date(2017, 2, 25)])
@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=40), timedelta(hours=9)])
@pytest.mark.parametrize("later", [timedelta(0), timedelta(seconds=3), timedelta(days=2)])
def test_exactly_the_closes_in_its_provisional_time_restate_a_week(
    first: date, late: timedelta, later: timedelta
) -> None:
    """Neither the delay of its own close or of the latest one nor a change to summer time matters."""
    week = CALENDAR.week(first)
    published_at = week.ends_at + GRACE + late
    closes = {week.first: Close(State.PUBLISHED)}
    restated = 0
    for _ in range(12):
        week = CALENDAR.next(week)
        known = Schedule(CALENDAR, first, GRACE, closes)
        assert known.due == week.ends_at + GRACE
        since = closing.provisional_since(known, 8 * WEEK, known.due + later)
        restated += published_at >= since
        closes[week.first] = Close(State.PUBLISHED)
    assert restated == (8 if late < WEEK else 9)


def test_a_week_is_final_as_soon_as_its_time_is_over_and_not_while_a_close_is_due() -> None:
    closes = {FIRST: Close(State.PUBLISHED)}
    known = Schedule(CALENDAR, FIRST, GRACE, closes)
    assert closing.provisional_since(known, WEEK, DUE) == DUE - WEEK
    assert closing.provisional_since(known, WEEK, DUE + WEEK) == DUE
    assert closing.provisional_since(known, WEEK, DUE + 5 * WEEK) == DUE, "the close of the next week is due first"
