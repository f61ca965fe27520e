"""Reports over HTTP in three formats, and on the topic as a CloudEvent."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_structured_event
from pydantic import SecretStr

from deploy.local import kafka_jars
from deploy.local.parts import KafkaPart
from schemas.announcement import report_id
from schemas.topics import REPORT_READY
from schemas.week import ReportingWeek
from services.publisher import app as publisher
from services.runtime.settings import Settings
from tests.support import events, kafka_log
from tests.support.agencies import write_agencies
from tests.support.console_consumer import console_consumer
from tests.support.counting import counting
from tests.support.in_process import is_ready, running
from tests.support.kafka_log import Message
from tests.support.model import ZONE
from tests.support.positions import Connection
from tests.support.publishing import ANY_SKEW, Hands, all_sent, new_week
from tests.support.waiting import until


@dataclass(frozen=True)
class Served:
    """A publisher that has closed and sent a week."""

    http: httpx.AsyncClient
    week: ReportingWeek
    next_week: ReportingWeek
    settings: Settings
    clock: Hands
    connection: Connection


@pytest.fixture(scope="module")
async def served(
    own_kafka: KafkaPart, module_database: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """A separate Kafka, because a publisher closes nothing while its database lacks reports of the topic."""
    week = new_week()
    chosen = Settings(
        postgres_dsn=SecretStr(module_database),
        kafka_bootstrap=own_kafka.bootstrap,
        agencies_file=write_agencies(tmp_path_factory.mktemp("agencies") / "agencies.toml"),
        first_week=week.first,
    )
    await kafka_log.append(own_kafka.bootstrap, _messages(week))
    async with counting(chosen) as counter:
        await counter.count()
    next_week = chosen.calendar.next(week)
    clock = Hands(week.ends_at + timedelta(hours=24))
    async with (
        running(publisher.create(chosen, clock, skew=ANY_SKEW)) as http,
        kafka_log.connected(chosen) as connection,
    ):
        await until(lambda: is_ready(http), "the publisher ready")
        await until(lambda: _listed(http, 1), "the week published without a command")
        clock.now = next_week.ends_at + timedelta(hours=25)
        await until(lambda: _listed(http, 2), "the next week, which is empty")
        await until(lambda: all_sent(connection), "all messages sent")
        yield Served(http, week, next_week, chosen, clock, connection)


def _messages(week: ReportingWeek) -> list[Message]:
    at = (week.begins_at + timedelta(days=2)).isoformat()
    messages = [events.message("issued", events.issued(n, issued_at=at)) for n in range(7)]
    messages += [events.message("issued", events.issued(9, issued_at=at, jurisdiction="US", operator="federal"))]
    declined = {"issued_at": at, "declined_at": at, "recorded_at": at}
    facts = [events.declined(n, jurisdiction="32031", **declined) for n in range(3)]
    return messages + [events.message("declined", fact) for fact in facts]


async def _listed(http: httpx.AsyncClient, count: int) -> bool:
    return len((await http.get("/v1/reports")).json()["reports"]) >= count


async def test_the_feed_has_each_revision_newest_first(served: Served) -> None:
    entries = (await served.http.get("/feed.atom")).text.split("<entry>")[1:]
    assert [
        f"Week of {week}, revision 1: first report" in entry
        for week, entry in zip((served.next_week, served.week), entries, strict=True)
    ] == [True, True]
    assert "Issued 8, declined 3." in entries[1]


async def test_a_page_compares_the_week_with_the_week_before_and_links_to_it(served: Served) -> None:
    page = (await served.http.get(f"/reports/{served.next_week}")).text
    assert "8 fewer than in the week before (8)." in page
    assert f'rel="prev" href="/reports/{served.week}"' in page
    assert page.count("<polyline") == 2
    before = (await served.http.get(f"/reports/{served.week}")).text
    assert f'rel="next" href="/reports/{served.next_week}"' in before
    assert "Main points" not in before, "nothing to compare it with"


async def test_a_series_and_the_page_of_a_jurisdiction_have_its_published_figures(served: Served) -> None:
    def listed(series: httpx.Response) -> list[list[object]]:
        return [[one[name] for name in ("week", "reported", "issued", "declined")] for one in series.json()["weeks"]]

    first, second = str(served.week), str(served.next_week)
    series = await served.http.get("/v1/series?geoid=32031")
    assert listed(series) == [[first, True, 0, 3], [second, False, None, None]]
    assert listed(await served.http.get(f"/v1/series?geoid=32031&from={second}")) == [[second, False, None, None]]
    assert listed(await served.http.get(f"/v1/series?geoid=32031&to={first}")) == [[first, True, 0, 3]]
    assert listed(await served.http.get("/v1/series?geoid=32031&as_of=1999-01-01")) == []
    page = await served.http.get("/jurisdictions/32031")
    assert "Washoe County, NV" in page.text
    link = f'<a href="/reports/{first}">{first}</a></th><td class="n">1</td>'
    assert link in page.text
    assert '<a href="/jurisdictions/32031">Washoe County, NV</a>' in (await served.http.get(f"/reports/{first}")).text


async def test_a_report_is_found_by_list_latest_week_and_revision(served: Served) -> None:
    http, week = served.http, served.week
    listed = (await http.get("/v1/reports")).json()["reports"]
    assert [one["week"] for one in listed] == [str(served.next_week), str(week)]
    assert listed[1]["totals"] == {"issued": 8, "declined": 3}
    by_week = (await http.get(f"/v1/reports/{week}")).json()
    assert (by_week["week_start"], by_week["revision"], by_week["cause"]) == (str(week), 1, "initial")
    assert by_week["totals"] == {"issued": 8, "declined": 3}
    assert by_week["digest"] == listed[1]["digest"]
    assert (await http.get("/v1/reports/latest")).json()["week_start"] == str(served.next_week)
    for form, link in listed[1]["links"].items():
        linked = await http.get(link)
        assert linked.status_code == 200
        assert form in linked.headers["content-type"]
    assert (await http.get(f"/v1/reports/{week}/revisions/1")).content == (
        await http.get(f"/v1/reports/{week}")
    ).content


async def test_json_csv_and_page_agree(served: Served) -> None:
    http, week = served.http, served.week
    document = (await http.get(f"/v1/reports/{week}.json")).json()
    rows = [(row["geoid"], row["issued"], row["declined"]) for row in document["jurisdictions"]]
    assert rows == [("32031", 0, 3), ("32003", 7, 0), ("US", 1, 0)]
    text = (await http.get(f"/v1/reports/{week}.csv")).text
    table = list(csv.DictReader(io.StringIO(text)))
    assert [(row["geoid"], int(row["issued"]), int(row["declined"])) for row in table] == rows
    assert {row["week_start"] for row in table} == {str(week)}
    page = (await http.get(f"/v1/reports/{week}.html")).text
    for name in ("Washoe County", "Clark County", "United States (federal custody)", document["digest"]):
        assert name in page


async def test_the_format_follows_suffix_then_accept(served: Served) -> None:
    http, week = served.http, served.week
    json_type, csv_type, html_type = "application/json", "text/csv; charset=utf-8", "text/html; charset=utf-8"
    for accept, expected in {
        "application/json": json_type,
        "text/csv": csv_type,
        "text/html,application/xhtml+xml;q=0.9": html_type,
        "*/*": json_type,
        "application/xml, text/csv": csv_type,
    }.items():
        response = await http.get(f"/v1/reports/{week}", headers={"Accept": accept})
        assert response.headers["content-type"] == expected, accept
        assert response.headers["vary"] == "Accept, Accept-Encoding"
    suffixed = await http.get(f"/v1/reports/{week}.csv", headers={"Accept": "application/json"})
    assert suffixed.headers["content-type"] == csv_type
    refused = await http.get(f"/v1/reports/{week}", headers={"Accept": "application/xml"})
    assert (refused.status_code, refused.json()["code"]) == (406, "not-acceptable")
    front = await http.get("/", headers={"Accept": "text/html"})
    assert front.headers["content-type"] == html_type
    assert f'href="/reports/{week}"' in (await http.get("/reports")).text


async def test_an_unknown_report_is_a_problem(served: Served) -> None:
    some = ("2016-02-30", "2009-01-03", "latest.xml", "nothing", "1", "2017-01-28.pdf")
    for address in (*some, f"{served.week}/revisions/2", f"{served.week}/revisions/x"):
        response = await served.http.get(f"/v1/reports/{address}")
        assert response.status_code == 404, address
        assert response.headers["content-type"] == "application/problem+json", address


async def test_an_unchanged_report_is_not_sent_again(served: Served) -> None:
    http, address = served.http, f"/v1/reports/{served.week}"
    first = await http.get(address)
    again = await http.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    as_csv = await http.get(f"{address}.csv", headers={"If-None-Match": first.headers["etag"]})
    assert as_csv.status_code == 200, "another format has its own ETag"
    other = await http.get("/v1/reports/latest", headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200


async def test_a_report_is_read_as_of_an_instant(served: Served) -> None:
    http, week = served.http, served.week
    published = (await http.get("/v1/reports")).json()["reports"][1]["published_at"]

    async def status(as_of: str) -> int:
        return (await http.get(f"/v1/reports/{week}", params={"as_of": as_of})).status_code

    assert await status(published) == 200
    before = (week.ends_at + timedelta(hours=23)).isoformat()
    assert await status(before) == 404
    day = (week.ends_at + timedelta(hours=24)).astimezone(ZONE).date()
    assert await status(day.isoformat()) == 200, "a date means the end of that day"
    assert await status((day - timedelta(days=1)).isoformat()) == 404
    listed = (await http.get("/v1/reports", params={"as_of": published})).json()["reports"]
    assert [one["week"] for one in listed] == [str(week)]
    latest = await http.get("/v1/reports/latest", params={"as_of": published})
    assert latest.json()["week_start"] == str(week)
    for bad in ("yesterday", "2017-01-28T00:00:00", "2017-13-01"):
        response = await http.get("/v1/reports", params={"as_of": bad})
        assert (response.status_code, response.json()["code"]) == (400, "bad-as-of")


async def test_the_message_is_a_cloudevent_that_the_sdk_reads(served: Served, own_kafka: KafkaPart) -> None:
    week = served.week
    records = await kafka_log.read(own_kafka.bootstrap, REPORT_READY)
    [record] = [one for one in records if one.key == str(week).encode()]
    assert record.value is not None
    event = from_structured_event(KafkaMessage(headers=dict(record.headers), key=record.key, value=record.value))
    assert event.get_id() == report_id(week.first, 1)
    assert event.get_type() == REPORT_READY
    assert event.get_source() == "/publisher"
    assert event.get_subject() == str(week)
    data = event.get_data()
    assert isinstance(data, dict)
    served_document = (await served.http.get(f"/v1/reports/{week}.json")).json()
    for name in ("week_start", "week_end", "totals", "top", "jurisdictions", "figures_digest", "digest", "offsets"):
        assert data[name] == served_document[name], name
    assert data["week_end"] == str(week.last)
    for link in data["links"].values():
        assert (await served.http.get(link)).status_code == 200


@pytest.mark.real_kafka("does not support Kafka's own tools")
async def test_a_plain_console_consumer_reads_the_report(served: Served, own_kafka: KafkaPart) -> None:
    if lacking := kafka_jars.missing():
        pytest.skip(" ".join(lacking))
    count = len(await kafka_log.read(own_kafka.bootstrap, REPORT_READY))
    command = console_consumer(
        own_kafka.bootstrap, REPORT_READY, "--from-beginning", "--isolation-level", "read_committed",
        "--timeout-ms", "20000", "--max-messages", str(count),
    )  # fmt: skip
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=120, check=False)
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    [report] = [one for one in printed if one["subject"] == str(served.week)]
    assert report["data"]["totals"] == {"issued": 8, "declined": 3}


async def test_status_and_pending_changes_are_in_headers_until_the_next_close(
    served: Served, own_kafka: KafkaPart
) -> None:
    """Last in this module: it changes the week."""
    http, week = served.http, served.week
    address = f"/v1/reports/{week}.json"
    document = (await http.get(address)).content
    late = events.declined(50, **dict.fromkeys(("issued_at", "declined_at", "recorded_at"), week.begins_at.isoformat()))
    await kafka_log.append(own_kafka.bootstrap, [events.message("declined", late)])
    async with counting(served.settings) as counter:
        await counter.count()
    listed = (await http.get("/v1/reports")).json()["reports"][1]
    assert (listed["status"], listed["pending"]) == ("provisional", {"issued": 0, "declined": 1})
    response = await http.get(address)
    assert response.headers["report-pending"] == "issued=0, declined=+1"
    assert response.content == document, "the document is unchanged"
    assert "declined +1" in (await http.get("/reports")).text
    assert "declined +1" in (await http.get(f"/v1/reports/{week}.html")).text
    served.clock.now += timedelta(days=7)

    async def restated() -> bool:
        return bool((await http.get(f"/v1/reports/{week}")).json()["revision"] == 2)

    await until(restated, "the week's revision 2")
    page = (await http.get(f"/v1/reports/{week}.html")).text
    assert "Changed since revision 1" in page
    assert "late +1" in page
    after = (await http.get(f"/reports/{served.next_week}")).text
    assert "4 fewer than in the week before (4, revised from 3)" in after
    first = await http.get(f"/v1/reports/{week}/revisions/1.html")
    assert f"/v1/reports/{week}/revisions/2.html" in first.text, "the old revision links to the newer one"
    assert (await http.get(f"/v1/reports/{week}/revisions/1")).content == document
    listed = (await http.get("/v1/reports")).json()["reports"]
    assert {one["week"]: one["pending"] for one in listed}[str(week)] == {"issued": 0, "declined": 0}
