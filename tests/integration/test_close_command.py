"""`ddor close`: requests the close, waits for the report, and reports a held week at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from schemas.week import ReportingWeek
from tests.conftest import MakeSettings
from tests.support.batches import CALENDAR
from tests.support.commands import Done, ddor
from tests.support.life import Life, both, detainer, living
from tests.support.publishing import new_week
from tests.support.waiting import until

FAR = "3600"


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


def _later() -> ReportingWeek:
    return CALENDAR.week_of(datetime.now(UTC) + timedelta(days=70))


async def _closed(life: Life, week: ReportingWeek, wait: str) -> Done:
    """Run the command beside a publisher whose clock shows the current time."""
    command = asyncio.create_task(ddor(life.settings, "close", str(week), "--by", "Ada", "--wait", wait))

    async def ended() -> bool:
        life.publisher.clock.now = datetime.now(UTC)
        await life.publisher.steps()
        return command.done()

    await until(ended, "the command to exit")
    return await command


async def test_a_held_week_is_reported_at_once_with_findings_and_the_next_command(
    settings: MakeSettings, week: ReportingWeek
) -> None:
    async with living(settings(first_week=_later().first), week) as life:
        await life.write(*both([1], week), detainer("declined", 1, week, reason="capacity"))
        done = await _closed(life, week, FAR)
        held_until = await life.connection.fetchval("SELECT held_until FROM week_close")
        assert done.exit_code == 1
        assert f"{week}: held until {held_until}" in done.err
        assert "open-conflicts, facts: 1 facts of this week have two contents under one version" in done.err
        assert f"ddor release {week} --by" in done.err
        assert (await ddor(life.settings, "release", str(week), "--by", "Ada", "--note", "seen")).exit_code == 0
        await life.publisher.steps()
        await life.send()
        assert "issued 1, declined 1" in (await _closed(life, week, FAR)).out


async def test_a_timeout_reports_the_state_and_the_missing_records(settings: MakeSettings, week: ReportingWeek) -> None:
    async with living(settings(first_week=_later().first), week) as life:
        done = await ddor(life.settings, "close", str(week), "--wait", "3")
        assert (done.exit_code, f"{week}: requested; not closed within 3 s" in done.err) == (1, True)
        target = detainer("issued", 1, week).target
        await life.write(*both([1], week))
        await life.connection.execute(
            "UPDATE partition_position SET next_offset = next_offset - 1 WHERE (topic, partition) = ($1, $2)",
            target.topic,
            target.number,
        )
        done = await _closed(life, week, "5")
        assert f"{week}: draining; 1 records to count before the barrier; not closed within 5 s" in done.err


async def test_it_waits_only_for_the_messages_of_its_own_week(settings: MakeSettings, week: ReportingWeek) -> None:
    """Unsent rejects and the announcement of another week do not belong to this week."""
    async with living(settings(first_week=_later().first), week) as life:
        await life.write(*both([1], week))
        await life.connection.execute(
            "INSERT INTO outbox (topic, key, value, headers, timestamp_ms, created_at) VALUES"
            " ('detainer-rejected', 'k', '{}', '{}', 0, now()), ('report-ready', '1990-01-06', '{}', '{}', 0, now())"
        )
        done = await _closed(life, week, "3")
        assert (done.exit_code, "closed; not closed within 3 s" in done.err) == (1, True), done
        own = "UPDATE outbox SET sent_at = now() WHERE key = convert_to($1, 'UTF8')"
        await life.connection.execute(own, str(week))
        done = await _closed(life, week, FAR)
        assert (done.exit_code, "issued 1, declined 1" in done.out) == (0, True), done


async def test_a_week_that_has_not_ended_is_not_closed(store_settings: MakeSettings) -> None:
    going_on = CALENDAR.week_of(datetime.now(UTC))
    done = await ddor(store_settings(first_week=_later().first), "close", str(going_on))
    assert (done.exit_code, done.out) == (2, "")
    assert f"{going_on} has not ended: it ends at {going_on.ends_at.isoformat()}" in done.err


@pytest.mark.parametrize("week", ["0001-01-06", "1899-12-30", "1999-12-18"])
async def test_a_week_before_the_earliest_possible_one_is_not_closed(store_settings: MakeSettings, week: str) -> None:
    """Its report would be empty and could never be withdrawn."""
    done = await ddor(store_settings(first_week=_later().first), "close", week, "--wait", "0")
    assert (done.exit_code, done.out) == (2, "")
    assert f"{week} is before 1999-12-25, the earliest week that events may belong to" in done.err


@pytest.mark.parametrize(
    ("command", "text", "meant"),
    [
        (command, text, meant)
        for command in ("close", "verify", "release", "restate", "withdraw-lines")
        for text, meant in {
            "": "'' is not a date: write the first day of a week, such as 2017-01-28",
            "last": "'last' is not a date: write the first day of a week, such as 2017-01-28",
            "2017-01-30": "the week that contains it is 2017-01-28",
        }.items()
        if (command, text) != ("verify", "")  # verify works without a week
    ],
)
async def test_an_invalid_week_is_reported_with_an_example(
    store_settings: MakeSettings, command: str, text: str, meant: str
) -> None:
    more = {
        "release": ["--by", "Ada", "--note", "x"],
        "restate": ["--by", "Ada", "--reason", "x"],
        "withdraw-lines": ["--by", "Ada", "--reason", "x"],
    }
    done = await ddor(store_settings(first_week=_later().first), command, text, *more.get(command, []))
    assert (done.exit_code, done.out, meant in done.err) == (2, "", True)
