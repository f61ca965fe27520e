"""Line lists: made, reused, withdrawn, verified, and sent to no topic."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from deploy.local.parts import KafkaPart
from schemas.topics import REPORT_LATEST, REPORT_READY
from schemas.week import ReportingWeek
from services.publisher import app as publisher
from tests.conftest import MakeSettings
from tests.support import commands, kafka_log
from tests.support.in_process import is_ready, running
from tests.support.life import Life, both, detainer, living, prove_chain
from tests.support.publishing import new_week
from tests.support.waiting import until


@pytest.fixture(scope="module")
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
async def life(store_settings: MakeSettings, own_kafka: KafkaPart, week: ReportingWeek) -> AsyncIterator[Life]:
    settings = store_settings(kafka_bootstrap=own_kafka.bootstrap, first_week=week.first, line_list="coarse")
    async with living(settings, week) as life:
        yield life


async def test_a_line_list_is_made_reused_remade_withdrawn_and_verified(life: Life, week: ReportingWeek) -> None:
    calendar, weeks = life.settings.calendar, [week]
    facts = [both(range(9), week), both([20], week), both(range(30, 40), week), both([50], week)]
    digests = []
    for number, more in enumerate(facts):
        await life.write(*more)
        if number == 3:
            done = await commands.ddor(life.settings, "withdraw-lines", str(week), "--by", "Ada", "--reason", "a court")
            assert done.exit_code == 0, done.output
        await life.close(weeks[-1])
        weeks.append(calendar.next(weeks[-1]))
        await life.send()
        digests.append((await life.report(week))["line_list"]["sha256"])
    assert digests[0] == digests[1], "one more person does not change the list"
    assert digests[1] != digests[2], "eleven more do"
    assert digests[2] == digests[3], "the withdrawn list remains, and no other is made"
    assert await prove_chain(life.connection) == 7
    for record in await kafka_log.read(life.settings.kafka_bootstrap, REPORT_READY):
        assert b"line_list" not in (record.value or b"")
    for revision in range(1, 5):
        done = await commands.ddor(life.settings, "verify", f"{week}@{revision}")
        assert (done.exit_code, "withdrawn by Ada" in done.output) == (0, True), done.output


async def test_a_line_list_is_served_until_withdrawn_and_verify_names_an_altered_one(
    life: Life, own_kafka: KafkaPart, week: ReportingWeek
) -> None:
    for topic in (REPORT_READY, REPORT_LATEST):
        await kafka_log.recreate(own_kafka.bootstrap, topic)
    await life.counter.count()
    await life.close(week)
    await life.send()
    await life.write(detainer("declined", 60, week))
    await life.close(life.settings.calendar.next(week))
    await life.send()
    address = f"/v1/reports/{week}/revisions/2/line-list"
    async with running(publisher.create(life.settings)) as http:
        await until(lambda: is_ready(http), "the publisher ready")
        response = await http.get(address)
        assert response.status_code == 200, response.text
        assert response.headers["cache-control"] == "no-cache", "a list can be withdrawn"
        unchanged = await http.get(address, headers={"If-None-Match": response.headers["etag"]})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert [row["region"] for row in response.json()["rows"]] == ["Not known"]
        assert address in (await http.get(f"/v1/reports/{week}.html")).text
        assert (await http.get(f"/v1/reports/{week}/revisions/9/line-list")).status_code == 404
        for what in (f"{week}@1", f"{week}@2"):
            done = await commands.ddor(life.settings, "verify", what)
            assert (done.exit_code, "✓ line list: matches its digest" in done.output) == (0, True), done.output
        await life.connection.execute(
            "UPDATE line_list SET content = replace(convert_from(content, 'UTF8'), 'NV', 'NY')::bytea"
        )
        done = await commands.ddor(life.settings, "verify", f"{week}@1")
        assert (done.exit_code, "✗ line list" in done.output) == (1, True), done.output
        await commands.ddor(life.settings, "withdraw-lines", str(week), "--by", "Ada", "--reason", "a court")
        assert (await http.get(address)).status_code == 410
        assert (await http.get(f"/v1/reports/{week}.json")).status_code == 200
        again = await commands.ddor(life.settings, "withdraw-lines", str(week), "--by", "Ada", "--reason", "again")
        assert again.exit_code == 1, again.output
