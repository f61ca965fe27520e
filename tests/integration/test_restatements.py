"""Restatements on a real log and database: exact causes, no revision without a changed figure, and final weeks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from schemas.topics import REPORT_LATEST, REPORT_READY
from schemas.week import ReportingWeek
from services.publisher.queries import SQL
from services.publisher.site.about import About
from services.publisher.site.routes import Site
from services.runtime import postgres
from tests.conftest import MakeSettings
from tests.support import commands, kafka_log
from tests.support.events import CLARK
from tests.support.life import WASHOE, Life, both, changes, detainer, living, prove_chain
from tests.support.publishing import new_week


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
async def life(settings: MakeSettings, week: ReportingWeek) -> AsyncIterator[Life]:
    async with living(settings(first_week=week.first, restatement_weeks=3), week) as life:
        yield life


WITHDRAWN: dict[str, Any] = {"version": 2, "withdrawn": True, "withdrawn_reason": "entered-in-error"}


async def test_the_next_close_restates_with_exact_causes(life: Life, week: ReportingWeek) -> None:
    after = life.settings.calendar.next(week)
    await life.write(*both(range(8), week), detainer("declined", 20, week, **{**WITHDRAWN, "version": 1}))
    await life.close(week)
    first = await life.report(week)
    assert (first["revision"], first["totals"]) == (1, {"issued": 8, "declined": 8})

    await life.write(detainer("declined", 30, week, reason="no-such-reason"))
    bad = life.addresses[0]
    redriven = detainer("declined", 30, week)
    await life.write(
        detainer("declined", 31, week),
        detainer("declined", 32, week),
        detainer("declined", 1, week, **WITHDRAWN),
        detainer("issued", 1, week, **WITHDRAWN),
        detainer("declined", 2, week, version=2, jurisdiction=WASHOE),
        detainer("declined", 3, after, version=2, issued_at=week.begins_at.isoformat()),
        detainer("declined", 4, week, version=2, reason="capacity"),
        detainer("declined", 20, week, version=2),
        detainer("declined", 5, week, **WITHDRAWN),
        detainer("declined", 5, week, version=3),
        redriven,
    )
    await life.mark_redriven(bad, life.addresses[-1])
    assert await life.close(after) == 2
    document = await life.report(week)
    assert (document["revision"], document["cause"]) == (2, "scheduled")
    assert changes(document) == {
        (CLARK, "issued"): (8, 7, {"withdrawn": -1}),
        (CLARK, "declined"): (8, 9, {"late": 2, "redriven": 1, "withdrawn": -1, "reassigned": -2, "amended": 1}),
        (WASHOE, "declined"): (None, 1, {"reassigned": 1}),
    }
    assert document["retractions"] == 2
    assert document["scope"]["late"] == 3, "31, 32 and the redriven 30; the others already counted"
    assert document["totals"] == {"issued": 7, "declined": 10}
    assert {"table": "reasons", "row": "capacity", "old": 0, "new": 1} in document["table_changes"]
    assert document["previous_digest"] == (await life.report(after))["digest"], "one chain over all weeks"
    assert (await life.report(after))["totals"] == {"issued": 0, "declined": 1}
    assert await prove_chain(life.connection) == 3


async def test_invariant_5_no_revision_without_a_changed_figure(life: Life, week: ReportingWeek) -> None:
    calendar = life.settings.calendar
    second = calendar.next(week)
    third = calendar.next(second)
    facts = both(range(3), week)
    await life.write(*facts)
    await life.close(week)
    # Duplicates, a withdrawn fact that never counted, a version without a counted change, an invalid record.
    await life.write(
        *facts,
        detainer("declined", 9, week, **WITHDRAWN),
        detainer("declined", 1, week, version=2, facility="AB-1"),
        detainer("declined", 8, week, reason="no-such-reason"),
    )
    await life.close(second)
    assert await life.revisions() == [(str(week), 1, "initial"), (str(second), 1, "initial")]
    # Changed and changed back between two closes.
    await life.write(detainer("declined", 2, week, **WITHDRAWN), detainer("declined", 2, week, version=3))
    await life.close(third)
    assert len(await life.revisions()) == 3
    life.settings.agencies_file.write_text(life.settings.agencies_file.read_text() + "\n# another edit\n")
    await life.close(calendar.next(third))
    assert len(await life.revisions()) == 4
    assert await prove_chain(life.connection) == 4


async def test_a_change_of_a_table_alone_makes_a_revision(life: Life, week: ReportingWeek) -> None:
    await life.write(*both(range(3), week))
    await life.close(week)
    await life.write(detainer("declined", 1, week, version=2, reason="capacity", citizenship="MEX"))
    await life.close(life.settings.calendar.next(week))
    document = await life.report(week)
    assert (document["revision"], document["changes"], document["retractions"]) == (2, [], 0)
    assert {(one["table"], one["row"], one["old"], one["new"]) for one in document["table_changes"]} == {
        ("reasons", "", 3, 2),
        ("reasons", "capacity", 0, 1),
        ("citizenship", "", 3, 2),
        ("citizenship", "MEX", 0, 1),
    }


async def test_a_week_is_provisional_then_final_and_restated_only_on_request(life: Life, week: ReportingWeek) -> None:
    calendar = life.settings.calendar
    await life.write(*both(range(2), week))
    await life.close(week)
    assert await life.state(week) == "closed", "written, not yet on the topic"
    await life.send()
    assert await life.state(week) == "published"
    last = week
    for number in range(3):
        last = calendar.next(last)
        await life.write(detainer("declined", 10 + number, week))
        await life.close(last)
        await life.send()
    assert await life.state(week) == "published", "restated by the close of the third week"
    assert (await life.report(week))["revision"] == 4
    life.publisher.clock.now += timedelta(seconds=1)
    await life.publisher.step()
    assert await life.state(week) == "final"
    await life.write(detainer("declined", 20, week))
    last = calendar.next(last)
    await life.close(last)
    await life.send()
    assert (await life.report(week))["revision"] == 4
    final = [one for one in await life.announced() if one.final]
    assert [(one.week, one.revision, one.digest) for one in final] == [
        (week.first, 4, (await life.report(week))["digest"])
    ]
    assert final[0].data.keys() == {"week_start", "revision", "digest"}
    assert await _listed(life, week) == ("final", None, "issued=0, declined=+1")
    assert await life.moves(week) == ["draining", "closed", "published", "final"]

    request = await life.connection.fetchval(
        SQL["request_restatement"], week.first, "Ada", "a court asked", life.publisher.clock.now
    )
    assert await life.publisher.step()
    assert await life.connection.fetchval(SQL["restatement_outcome"], request) == "revision 5"
    document = await life.report(week)
    assert (document["cause"], document["reason"]) == ("correction", "Ada: a court asked")
    assert changes(document) == {(CLARK, "declined"): (5, 6, {"late": 1})}
    await life.send()
    assert await life.state(week) == "final"
    announced = [one for one in await life.announced() if one.week == week.first]
    assert [one.revision for one in announced if not one.final] == [1, 2, 3, 4, 5]
    assert len([one for one in await life.announced() if one.final and one.week == week.first]) == 1
    again = await life.connection.fetchval(
        SQL["request_restatement"], week.first, "Ada", "once more", life.publisher.clock.now
    )
    assert not await life.publisher.step(), "nothing was written"
    assert await life.connection.fetchval(SQL["restatement_outcome"], again) == "no figure has changed"
    nowhere = await life.connection.fetchval(
        SQL["request_restatement"], calendar.next(last).first, "Ada", "too early", life.publisher.clock.now
    )
    await life.publisher.step()
    assert await life.connection.fetchval(SQL["restatement_outcome"], nowhere) == "there is no report of this week"
    await prove_chain(life.connection)


async def test_the_commands_wait_for_the_publisher_and_report_the_result(life: Life, week: ReportingWeek) -> None:
    settings = life.settings
    assert (await commands.ddor(settings, "restate", "2010-01-03", "--by", "Ada", "--reason", "x")).exit_code == 2
    assert (await commands.ddor(settings, "restate", str(week), "--reason", "who?")).exit_code == 2
    none = await commands.ddor(settings, "restate", str(week), "--by", "Ada", "--reason", "x", "--wait", "0.5")
    assert (none.exit_code, "the request stays in effect" in none.output) == (1, True)
    await life.write(*both(range(2), week), detainer("declined", 1, week, reason="capacity"))
    await life.close(week)
    release = ("release", str(week), "--by", "Ada", "--note", "looked at")
    assert (await commands.ddor(settings, *release)).exit_code == 0
    await life.publisher.steps()
    again = await commands.ddor(settings, *release)
    assert (again.exit_code, "is closed, not held" in again.output) == (1, True)
    await life.write(detainer("declined", 9, week))

    async def restate(which: ReportingWeek) -> commands.Done:
        arguments = ("restate", str(which), "--by", "Ada", "--reason", "a late file")
        command = asyncio.create_task(commands.ddor(settings, *arguments))
        while not command.done():
            await life.publisher.step()
            await asyncio.sleep(0.1)
        return await command

    done = await restate(week)
    assert (done.exit_code, f"{week}: revision 2" in done.output) == (0, True), done.output
    done = await restate(week)
    assert (done.exit_code, "no figure has changed" in done.output) == (0, True), done.output
    done = await restate(settings.calendar.next(week))
    assert (done.exit_code, "no report" in done.output) == (1, True), done.output
    rows = await life.connection.fetch("SELECT by, action FROM operator_action ORDER BY id")
    assert [(row["by"], row["action"]) for row in rows] == [("Ada", "restate"), ("Ada", "release")] + 3 * [
        ("Ada", "restate")
    ]


async def _listed(life: Life, week: ReportingWeek) -> tuple[str, dict[str, int] | None, str]:
    """Status and pending facts in the list, and pending facts on the page."""
    about = About.of(life.settings)
    reports = Site(lambda: postgres.pool(life.settings, "ddor-test"), about, life.publisher.clock)
    async with reports.connected():
        transport = httpx.ASGITransport(Starlette(routes=reports.routes))
        async with httpx.AsyncClient(transport=transport, base_url="http://publisher") as http:
            rows = (await http.get("/v1/reports")).json()["reports"]
            page = await http.get(f"/v1/reports/{week}.html")
            (row,) = [one for one in rows if one["week"] == str(week)]
            assert row["status"].title() in page.text
            return row["status"], row.get("pending"), page.headers["report-pending"]


async def test_an_agency_added_later_changes_no_earlier_week(life: Life, week: ReportingWeek) -> None:
    """A zero stays zero if an agency is added that could not have sent in that week."""
    second = life.settings.calendar.next(week)
    await life.write(*both([1], week), detainer("issued", 2, week, jurisdiction=WASHOE))
    await life.close(week)
    assert (WASHOE, 1, 0) in _rows(await life.report(week))
    path = life.settings.agencies_file
    path.write_text(
        path.read_text()
        + '\n[[agency]]\nname = "new"\nkinds = ["declined"]\njurisdictions = ["56*"]\n'
        + f'key_sha256 = ["{"0" * 64}"]\nvalid_from = {second.begins_at.isoformat()}\n'
    )
    await life.close(second)
    assert [one for one in await life.revisions() if one[0] == str(week)] == [(str(week), 1, "initial")]


def _rows(document: dict[str, Any]) -> list[tuple[str, int | None, int | None]]:
    return [(row["geoid"], row["issued"], row["declined"]) for row in document["jurisdictions"]]


async def test_the_latest_topic_has_the_newest_revision_of_each_week(life: Life, week: ReportingWeek) -> None:
    """The outbox has the order of writing, so the compacted topic never returns to an older revision."""
    last = week
    for number in range(4):
        await life.write(detainer("declined", number, week), detainer("issued", number, last))
        await life.close(last)
        last = life.settings.calendar.next(last)
    await life.send()
    for topic in (REPORT_READY, REPORT_LATEST):
        numbers = [one async for one in _numbers(life, topic, week)]
        assert numbers == sorted(numbers)
        assert numbers[-1] == (await life.report(week))["revision"]


async def _numbers(life: Life, topic: str, week: ReportingWeek) -> AsyncIterator[int]:
    for record in await kafka_log.read(life.settings.kafka_bootstrap, topic):
        if record.key == str(week).encode():
            event = json.loads(record.value or b"")
            if event["type"] == "report-ready":
                yield event["data"]["revision"]
