"""`ddor close`: asks, waits while something moves, and says at once what waits for a person."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from schemas.week import ReportingWeek
from tests.conftest import MakeSettings
from tests.support.batches import CALENDAR
from tests.support.commands import Done, ddor
from tests.support.life import Life, both, living, told
from tests.support.publishing import new_week
from tests.support.waiting import until

FAR = "3600"


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


def _later() -> ReportingWeek:
    return CALENDAR.week_of(datetime.now(UTC) + timedelta(days=70))


async def _closed(life: Life, week: ReportingWeek, wait: str) -> Done:
    """Run the command beside a publisher whose clock shows the present."""
    command = asyncio.create_task(ddor(life.settings, "close", str(week), "--by", "Ada", "--wait", wait))

    async def ended() -> bool:
        life.publisher.clock.now = datetime.now(UTC)
        await life.publisher.steps()
        return command.done()

    await until(ended, "the command's end")
    return await command


async def test_a_week_that_a_gate_holds_is_said_at_once_with_what_was_found_and_what_to_do(
    settings: MakeSettings, week: ReportingWeek
) -> None:
    async with living(settings(first_week=_later().first), week) as life:
        await life.tell(*both([1], week), told("declined", 1, week, reason="capacity"))
        said = await _closed(life, week, FAR)
        held_until = await life.connection.fetchval("SELECT held_until FROM week_close")
        assert said.exit_code == 1
        assert f"{week}: held until {held_until}" in said.err
        assert "open-conflicts, facts: 1 facts of this week have two contents under one version" in said.err
        assert f"ddor release {week} --by" in said.err
        assert (await ddor(life.settings, "release", str(week), "--by", "Ada", "--note", "seen")).exit_code == 0
        await life.publisher.steps()
        await life.send()
        assert "issued 1, declined 1" in (await _closed(life, week, FAR)).out


async def test_a_wait_that_ends_names_the_state_and_what_is_lacking(
    settings: MakeSettings, week: ReportingWeek
) -> None:
    async with living(settings(first_week=_later().first), week) as life:
        said = await ddor(life.settings, "close", str(week), "--wait", "3")
        assert (said.exit_code, f"{week}: requested; not closed within 3 s" in said.err) == (1, True)
        place = told("issued", 1, week).place
        await life.tell(*both([1], week))
        await life.connection.execute(
            "UPDATE partition_position SET next_offset = next_offset - 1 WHERE (topic, partition) = ($1, $2)", *place
        )
        said = await _closed(life, week, "5")
        assert f"{week}: draining; 1 records to count before the barrier; not closed within 5 s" in said.err


async def test_a_week_that_has_not_ended_is_not_closed_whoever_asks(store_settings: MakeSettings) -> None:
    going_on = CALENDAR.week_of(datetime.now(UTC))
    said = await ddor(store_settings(first_week=_later().first), "close", str(going_on))
    assert (said.exit_code, said.out) == (2, "")
    assert f"{going_on} has not ended: it ends at {going_on.ends_at.isoformat()}" in said.err


@pytest.mark.parametrize("command", ["close", "verify", "release", "restate", "withdraw-lines"])
@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", "'' is no date: write the first day of a week, such as 2017-01-28"),
        ("last", "'last' is no date: write the first day of a week, such as 2017-01-28"),
        ("2017-01-30", "the week that contains it is 2017-01-28"),
    ],
)
async def test_what_is_no_week_is_said_with_an_example(
    store_settings: MakeSettings, command: str, text: str, meant: str
) -> None:
    more = {
        "release": ["--by", "Ada", "--note", "x"],
        "restate": ["--by", "Ada", "--reason", "x"],
        "withdraw-lines": ["--by", "Ada", "--reason", "x"],
    }
    said = await ddor(store_settings(first_week=_later().first), command, text, *more.get(command, []))
    assert (said.exit_code, said.out, meant in said.err) == (2, "", True)
