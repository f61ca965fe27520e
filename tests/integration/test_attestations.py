"""Attestations of weeks: read up to the vector like other records, shown next to the figures, never part of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from schemas.log import Partition
from schemas.topics import WEEK_ATTESTED
from schemas.week import ReportingWeek
from tests.conftest import MakeSettings
from tests.support import commands, events
from tests.support.agencies import LAS_VEGAS, NEW_YORK
from tests.support.kafka_log import Message
from tests.support.life import Life, both, changes, detainer, living
from tests.support.publishing import new_week


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
async def life(settings: MakeSettings, week: ReportingWeek) -> AsyncIterator[Life]:
    async with living(settings(first_week=week.first), week) as life:
        yield life


def attesting(week: ReportingWeek, version: int = 1, agency: str = LAS_VEGAS, **counts: int) -> Message:
    return events.attesting(events.attested(str(week), version, **counts), agency=agency)


async def scope(life: Life, week: ReportingWeek) -> dict[str, tuple[Any, ...]]:
    """For each agency: status, attested figures, and missing figures."""
    return {
        one["agency"]: (
            one["status"], one["attested_issued"], one["attested_declined"], one["missing_issued"],
            one["missing_declined"],
        )
        for one in (await life.report(week))["scope"]["agencies"]
        if one["agency"] in (LAS_VEGAS, NEW_YORK)
    }  # fmt: skip


async def test_the_report_shows_attested_counts_next_to_its_own(life: Life, week: ReportingWeek) -> None:
    attestation = attesting(week, issued=5, declined=3)
    await life.write(*both(range(3), week), attestation, attesting(week, agency=NEW_YORK, issued=0), attestation)
    await life.close(week)
    assert await scope(life, week) == {
        "ice-las-vegas": ("differing", 5, 3, 2, 0),
        "ice-new-york": ("attested", 0, None, 0, None),
    }
    (row,) = await life.connection.fetch("SELECT * FROM partition_position WHERE topic = $1", WEEK_ATTESTED)
    assert (row["records"], row["duplicates"], row["rejected"]) == (3, 1, 0)
    assert (await life.report(week))["offsets"][WEEK_ATTESTED] == {"0": row["next_offset"]}
    assert (await life.report(week))["totals"] == {"issued": 3, "declined": 3}
    second = life.settings.calendar.next(week)
    await life.write(*both(range(10, 12), week), attesting(week, 3, issued=5, declined=5), attesting(week, 2, issued=9))
    await life.close(second)
    assert await scope(life, week) == {
        "ice-las-vegas": ("attested", 5, 5, 0, 0),
        "ice-new-york": ("attested", 0, None, 0, None),
    }
    assert await scope(life, second) == {
        "ice-las-vegas": ("silent", None, None, None, None),
        "ice-new-york": ("silent", None, None, None, None),
    }


async def test_a_zero_is_reported_once_attested_and_an_attestation_alone_adds_no_figure(
    life: Life, week: ReportingWeek
) -> None:
    outside = detainer("issued", 1, week, jurisdiction="36059")  # sent by an agency that is not responsible for it
    await life.write(outside)
    await life.close(week)
    (row,) = (await life.report(week))["jurisdictions"]
    assert (row["geoid"], row["issued"], row["declined"]) == ("36059", 1, None), "no agency responsible for declines"
    west = detainer("issued", 2, week)
    await life.write(west, attesting(week, agency=NEW_YORK, issued=1))
    second = life.settings.calendar.next(week)
    await life.close(second)
    assert changes(await life.report(week)) == {("32003", "issued"): (None, 1, {"late": 1})}
    third = life.settings.calendar.next(second)
    await life.write(attesting(week, 2, issued=2))
    await life.close(third)
    assert [one[:2] for one in await life.revisions()] == [
        (str(week), 1),
        (str(second), 1),
        (str(week), 2),
        (str(third), 1),
    ]


async def test_conflicting_attestations_hold_the_week_until_a_higher_version(life: Life, week: ReportingWeek) -> None:
    await life.write(*both([1], week), attesting(week, issued=1), attesting(week, issued=2))
    await life.close(week)
    assert await life.state(week) == "held"
    (flag,) = await life.connection.fetchval("SELECT held_because FROM week_close")
    assert flag["gate"] == "open-conflicts"
    await life.write(attesting(week, 2, issued=1))
    life.publisher.clock.now += timedelta(minutes=1)
    await life.publisher.steps()
    assert (await scope(life, week))[LAS_VEGAS][0] == "attested"
    assert (await life.report(week))["flags"] == []


async def test_a_week_waits_for_the_attestations_below_its_barrier(life: Life, week: ReportingWeek) -> None:
    await life.write(*both([1], week), attesting(week, issued=1, declined=1), leave=[Partition(WEEK_ATTESTED, 0)])
    await life.close(week)
    assert await life.state(week) == "draining"
    await life.counter.count()
    await life.publisher.steps()
    assert (await scope(life, week))["ice-las-vegas"] == ("attested", 1, 1, 0, 0)


async def test_trace_shows_the_outcome_of_an_attestation(life: Life, week: ReportingWeek) -> None:
    bad = events.attesting(events.attested(str(week.last), issued=1))
    first = attesting(week, issued=1, declined=1)
    await life.write(*both([1], week), first, bad, attesting(week, 2, issued=1), first)
    one, refused, two, again = [address for address in life.addresses if address[0] == WEEK_ATTESTED]
    sentences = {
        one: ["agency ice-las-vegas attests the week", "issued 1, declined 1, version 1", "superseded by version 2"],
        refused: ["rejected, not-a-week"],
        two: ["declined not attested, version 2", "in effect"],
        again: [f"duplicate of {WEEK_ATTESTED}/0/{one[2]}", "superseded by version 2"],
    }
    for address, words in sentences.items():
        done = await commands.ddor(life.settings, "trace", "/".join(map(str, address)))
        assert done.exit_code == 0, done.output
        for each in words:
            assert each in done.output, done.output
