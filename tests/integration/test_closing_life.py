"""The states of a week: gates, halted partitions, clocks, unusual weeks, load during the close, crashes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta

import pytest

from schemas.week import ReportingWeek
from services.publisher.closing import State
from services.publisher.gates import Thresholds
from services.publisher.queries import SQL
from services.runtime.errors import InvariantError
from tests.conftest import MakeSettings
from tests.support import kafka_log
from tests.support.batches import CALENDAR
from tests.support.kafka_log import Message
from tests.support.life import GRACE, Life, both, detainer, living, prove_chain
from tests.support.publishing import new_week

HOLD = timedelta(hours=24)
MOMENT = timedelta(seconds=1)


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
async def life(settings: MakeSettings, week: ReportingWeek) -> AsyncIterator[Life]:
    async with living(settings(first_week=week.first, restatement_weeks=1, hold=HOLD), week) as life:
        yield life


def conflict(week: ReportingWeek) -> list[Message]:
    return [*both([1], week), detainer("declined", 1, week, reason="capacity")]


def old_cases(week: ReportingWeek) -> list[Message]:
    ago = (week.begins_at - timedelta(days=400)).isoformat()
    issued = [detainer("issued", number, week, issued_at=ago) for number in range(20)]
    old = [detainer("declined", number, week, issued_at=ago) for number in range(11)]
    return [*issued, *old, *(detainer("declined", number, week) for number in range(11, 20))]


def without_issue(week: ReportingWeek) -> list[Message]:
    return [*both(range(15), week), *(detainer("declined", 100 + number, week) for number in range(5))]


GATES = {"open-conflicts": conflict, "old-cases": old_cases, "decline-without-issue": without_issue}


@pytest.mark.parametrize("gate", GATES)
async def test_a_gate_holds_a_week_and_the_release_names_its_operator(
    life: Life, week: ReportingWeek, gate: str
) -> None:
    await life.write(*GATES[gate](week))
    await life.close(week)
    assert await life.state(week) == "held"
    assert await life.revisions() == []
    because = await life.connection.fetchval("SELECT held_because FROM week_close")
    assert [flag["gate"] for flag in because] == [gate]
    assert not await life.publisher.store.release(life.settings.calendar.next(week).first, "Ada", "", week.ends_at)
    now = life.publisher.clock.now
    assert await life.publisher.store.release(week.first, "Ada", "I asked the agency", now)
    assert not await life.publisher.store.release(week.first, "Bob", "me too", now), "a week is released once"
    await life.publisher.steps()
    document = await life.report(week)
    assert [flag["gate"] for flag in document["flags"]] == [gate]
    (signed,) = document["sign_offs"]
    assert (signed["by"], signed["note"]) == ("Ada", "I asked the agency")
    assert datetime.fromisoformat(signed["at"]) == now
    assert await life.moves(week) == ["draining", "held", "closed"]


async def test_a_held_week_does_not_read_the_whole_ledger_again_until_it_is_published(
    life: Life, week: ReportingWeek
) -> None:
    queries: list[str] = []

    def proofs() -> tuple[int, int]:
        found = queries.count(SQL["unequal"]), queries.count(SQL["unaccounted"])
        queries.clear()
        return found

    await life.write(*conflict(week))
    life.publisher.store._connection.add_query_logger(lambda record: queries.append(record.query))
    await life.close(week)
    assert await life.state(week) == "held"
    assert proofs() == (1, 1)
    for _ in range(4):
        life.publisher.clock.now += timedelta(seconds=15)
        await life.publisher.step()
        assert SQL["conflicts"] in queries, "the gates are evaluated"
        assert proofs() == (0, 0)
    # A defect in the meantime is found before publication.
    await life.connection.execute("UPDATE weekly_counter SET n = n + 1 WHERE week = $1", week.first)
    assert await life.publisher.store.release(week.first, "Ada", "seen", life.publisher.clock.now)
    with pytest.raises(InvariantError, match="counters differ from the ledger"):
        await life.publisher.steps()
    assert proofs()[0] == 1
    assert await life.revisions() == []


@pytest.mark.parametrize("gate", GATES)
async def test_a_held_week_is_published_with_its_flag_after_the_deadline(
    life: Life, week: ReportingWeek, gate: str
) -> None:
    await life.write(*GATES[gate](week))
    await life.close(week)
    life.publisher.clock.now += HOLD - MOMENT
    assert await life.publisher.steps() == 0
    assert await life.state(week) == "held"
    life.publisher.clock.now += MOMENT
    assert await life.publisher.steps() == 1
    document = await life.report(week)
    assert [flag["gate"] for flag in document["flags"]] == [gate]
    assert document["sign_offs"] == []


async def test_a_held_week_that_is_corrected_is_published_without_a_flag(life: Life, week: ReportingWeek) -> None:
    await life.write(*conflict(week))
    await life.close(week)
    await life.write(detainer("declined", 1, week, version=2))
    assert await life.publisher.steps() == 0, "the gates are not evaluated again at once"
    life.publisher.clock.now += timedelta(minutes=1)
    assert await life.publisher.steps() == 1
    assert (await life.report(week))["flags"] == []


async def test_a_spike_of_one_agency_holds_the_week(life: Life, week: ReportingWeek) -> None:
    second = life.settings.calendar.next(week)
    await life.write(*both(range(3), week))
    await life.close(week)
    await life.write(*both(range(100, 100 + Thresholds().spike_from), second))
    await life.close(second)
    assert await life.state(second) == "held"
    (flag,) = await life.connection.fetchval("SELECT held_because FROM week_close WHERE week = $1", second.first)
    assert flag == {"gate": "spike", "subject": "ice-las-vegas", "detail": "50 declines; its median week has 3"}
    assert await life.close(life.settings.calendar.next(second)) > 0, "the deadline has passed; weeks close in order"
    assert [one[0] for one in await life.revisions()][:2] == [str(week), str(second)]


async def test_a_halted_partition_holds_its_week_until_it_is_resumed(life: Life, week: ReportingWeek) -> None:
    facts = both(range(12), week)
    stuck = facts[1].target
    await life.write(*facts, leave=[stuck])
    await life.halt(stuck, "TooManyRejects: 201")
    await life.close(week)
    assert await life.state(week) == "held"
    (flag,) = await life.connection.fetchval("SELECT held_because FROM week_close")
    assert (flag["gate"], flag["subject"]) == ("halted-partition", str(stuck))
    await life.resume()
    life.publisher.clock.now += timedelta(minutes=1)
    assert await life.publisher.steps() == 0, "the week waits for the resumed partition"
    await life.counter.count()
    assert await life.publisher.steps() == 1
    document = await life.report(week)
    assert (document["flags"], document["totals"]) == ([], {"issued": 12, "declined": 12})


async def test_a_halted_partition_is_left_out_after_the_deadline_and_restated_once_resumed(
    life: Life, week: ReportingWeek
) -> None:
    facts = both(range(12), week)
    stuck = facts[1].target
    lacking = sum(one.target == facts[1].target for one in facts)
    await life.write(*facts, leave=[stuck])
    await life.halt(stuck, "PositionLost: x")
    await life.close(week)
    life.publisher.clock.now += HOLD
    await life.publisher.steps()
    document = await life.report(week)
    assert document["totals"] == {"issued": 12, "declined": 12 - lacking}
    assert [flag["gate"] for flag in document["flags"]] == ["halted-partition"]
    await life.resume()
    await life.counter.count()
    await life.close(life.settings.calendar.next(week))
    assert (await life.report(week))["totals"] == {"issued": 12, "declined": 12}
    assert [one["causes"] for one in (await life.report(week))["changes"]] == [{"late": lacking}]


async def test_a_clock_moved_back_at_any_moment_changes_nothing(life: Life, week: ReportingWeek) -> None:
    second = life.settings.calendar.next(week)
    await life.write(*both(range(3), week))
    life.due(week)
    assert await life.publisher.step(), "the barrier"
    life.publisher.clock.now -= timedelta(days=30)
    assert await life.publisher.steps() == 0
    await life.close(week)
    await life.send()
    life.publisher.clock.now -= timedelta(days=30)
    assert await life.publisher.steps() == 0
    assert await life.send() == 0
    await life.write(detainer("declined", 9, week))
    await life.close(second)
    life.publisher.clock.now -= timedelta(days=3)
    await life.send()
    assert await life.publisher.steps() == 0
    assert await life.revisions() == [
        (str(week), 1, "initial"),
        (str(second), 1, "initial"),
        (str(week), 2, "scheduled"),
    ]
    assert [one.revision for one in await life.announced() if one.week == week.first and not one.final] == [1, 2]
    await prove_chain(life.connection)


@pytest.mark.parametrize(
    ("first", "hours", "due"),
    [
        (date(2040, 3, 10), 167, "2040-03-18T04:00:00+00:00"),
        (date(2040, 11, 3), 169, "2040-11-11T05:00:00+00:00"),
        (date(2040, 3, 3), 168, "2040-03-11T05:00:00+00:00"),
    ],
)
async def test_weeks_with_a_clock_change(settings: MakeSettings, first: date, hours: int, due: str) -> None:
    week = CALENDAR.week(first)
    assert week.hours == hours
    edges = [week.begins_at, week.ends_at - timedelta(microseconds=1)]
    outside = [week.begins_at - timedelta(microseconds=1), week.ends_at]
    async with living(settings(first_week=first), week) as life:
        facts = [
            detainer("issued", number, week, issued_at=at.isoformat()) for number, at in enumerate(edges + outside)
        ]
        await life.write(*facts)
        life.publisher.clock.now = datetime.fromisoformat(due) - MOMENT
        assert await life.publisher.steps() == 0
        life.publisher.clock.now += MOMENT
        assert await life.publisher.steps() == 2
        assert (await life.report(week))["totals"] == {"issued": 2, "declined": 0}
        assert life.publisher.clock.now == week.ends_at + GRACE


async def test_empty_weeks_have_reports_and_a_stray_event_of_next_year_counts_in_its_week(
    life: Life, week: ReportingWeek
) -> None:
    calendar = life.settings.calendar
    stray = calendar.week_of(week.begins_at + timedelta(days=60))
    await life.write(detainer("issued", 1, stray))
    weeks = [week]
    while weeks[-1].first < stray.first:
        weeks.append(calendar.next(weeks[-1]))
    for one in weeks:
        await life.close(one)
    assert await life.revisions() == [(str(one), 1, "initial") for one in weeks]
    totals = [(await life.report(one))["totals"]["issued"] for one in weeks]
    assert totals == [0] * (len(weeks) - 1) + [1]
    await prove_chain(life.connection)


async def test_a_fact_is_in_the_revision_exactly_if_its_offset_is_below_the_vector(
    life: Life, week: ReportingWeek
) -> None:
    """Events arrive while the week closes: before the barrier, after it, and after the report."""
    numbers = iter(range(1_000))
    addresses: list[tuple[str, int, int]] = []

    async def load(count: int, *, counted: bool) -> None:
        facts = [detainer("issued", next(numbers), week) for _ in range(count)]
        addresses.extend(await kafka_log.append(life.settings.kafka_bootstrap, facts))
        if counted:
            await life.counter.count()

    await load(40, counted=False)
    life.due(week)
    assert await life.publisher.step()
    await load(30, counted=False)
    assert not await life.publisher.step()
    await load(5, counted=True)
    await load(20, counted=False)
    assert await life.publisher.step()
    await load(7, counted=True)
    document = await life.report(week)
    below = [address for address in addresses if address[2] < document["offsets"][address[0]][str(address[1])]]
    assert document["totals"]["issued"] == len(below) == 75
    await life.close(life.settings.calendar.next(week))
    again = await life.report(week)
    assert again["totals"]["issued"] == len(addresses) == 102
    assert [one["causes"] for one in again["changes"]] == [{"late": 27}]


async def test_a_held_past_week_does_not_delay_the_weekly_report(settings: MakeSettings, week: ReportingWeek) -> None:
    scheduled = CALENDAR.week(week.first + timedelta(days=28))
    async with living(settings(first_week=scheduled.first, hold=timedelta(days=60)), week) as life:
        await life.write(*conflict(week), *both([7], scheduled))
        await life.publisher.store.request(week.first, "Ada", life.publisher.clock.now)
        await life.publisher.steps()
        assert await life.state(week) == State.REQUESTED, "it has not ended"
        life.publisher.clock.now = week.ends_at
        await life.publisher.steps()
        assert await life.state(week) == State.HELD
        await life.close(scheduled)
        assert await life.revisions() == [(str(scheduled), 1, "initial")]
        await life.publisher.store.release(week.first, "Ada", "looked at", life.publisher.clock.now)
        await life.publisher.steps()
        assert await life.revisions() == [(str(scheduled), 1, "initial"), (str(week), 1, "initial")]
