"""services.publisher.routes: addresses, formats and instants. What the statements answer is for integration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime

import httpx
import pytest

from tests.unit.sample_reader import REPORT, ROW, Pool, reading


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
async def client(pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(pool) as client:
        yield client


WEEK = date(2017, 1, 28)


@pytest.mark.parametrize(
    ("path", "asked", "media_type"),
    [
        ("/v1/reports/latest", (None, None), "application/json"),
        ("/v1/reports/latest.csv", (None, None), "text/csv"),
        ("/v1/reports/2017-01-28", (WEEK, None), "application/json"),
        ("/v1/reports/2017-01-28.json", (WEEK, None), "application/json"),
        ("/v1/reports/2017-01-28.csv", (WEEK, None), "text/csv"),
        ("/v1/reports/2017-01-28.html", (WEEK, None), "text/html"),
        ("/v1/reports/2017-01-28/revisions/2", (WEEK, 2), "application/json"),
        ("/v1/reports/2017-01-28/revisions/12.csv", (WEEK, 12), "text/csv"),
        ("/v1/reports/latest/revisions/1.html", (None, 1), "text/html"),
    ],
)
async def test_an_address_names_week_revision_and_format(
    client: httpx.AsyncClient, pool: Pool, path: str, asked: tuple[object, ...], media_type: str
) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert pool.asked == [(*asked, None)]
    assert answer.headers["content-type"].partition(";")[0] == media_type


@pytest.mark.parametrize(
    "path",
    [
        "/v1/reports/2017-01-28.xml",
        "/v1/reports/2017-02-30",
        "/v1/reports/0000-00-00",
        "/v1/reports/2017-1-28",
        "/v1/reports/1",
        "/v1/reports/latest.json.csv",
        "/v1/reports/2017-01-28/revisions/one",
        "/v1/reports/2017-01-28/revisions/latest",
        "/v1/reports/2017-01-28/revisions/-1",
        "/v1/reports/2017-01-28/revisions/99999999",
        "/v1/reports/%E2%91%A0",
        "/v1/reports/٢٠١٧-٠١-٢٨",
    ],
)
async def test_what_is_no_address_is_not_found_and_nobody_is_asked(
    client: httpx.AsyncClient, pool: Pool, path: str
) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "report-not-found")
    assert answer.headers["content-type"] == "application/problem+json"
    assert pool.asked == []


async def test_a_report_that_is_not_there_is_not_found(client: httpx.AsyncClient, pool: Pool) -> None:
    pool.row = None
    answer = await client.get("/v1/reports/2017-01-28")
    assert (answer.status_code, answer.json()["code"]) == (404, "report-not-found")


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("text/csv", "text/csv"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("image/avif, TEXT/CSV ; q=0.5", "text/csv"),
        ("text/*", "text/html"),
    ],
)
async def test_accept_chooses_the_format(client: httpx.AsyncClient, accept: str, media_type: str) -> None:
    answer = await client.get("/v1/reports/latest", headers={"Accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == media_type
    assert answer.headers["vary"] == "Accept"


async def test_a_suffix_goes_before_accept(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/reports/latest.csv", headers={"Accept": "text/html"})
    assert answer.headers["content-type"].startswith("text/csv")


async def test_no_format_that_is_accepted_is_406(client: httpx.AsyncClient, pool: Pool) -> None:
    answer = await client.get("/v1/reports/latest", headers={"Accept": "application/pdf"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not-acceptable")
    assert pool.asked == []


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2017-02-06", datetime(2017, 2, 7, 4, 59, 59, 999_999, tzinfo=UTC)),
        ("2017-07-06", datetime(2017, 7, 7, 3, 59, 59, 999_999, tzinfo=UTC)),
        ("2017-02-06T12:00:00Z", datetime(2017, 2, 6, 12, tzinfo=UTC)),
        ("2017-02-06T12:00:00+05:00", datetime(2017, 2, 6, 7, tzinfo=UTC)),
        ("2017-02-06T12:00:00-05:00", datetime(2017, 2, 6, 17, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("path", ["/v1/reports/latest", "/v1/reports/2017-01-28/revisions/1", "/v1/reports"])
async def test_as_of_is_an_instant_or_the_end_of_a_day(
    client: httpx.AsyncClient, pool: Pool, path: str, text: str, instant: datetime
) -> None:
    assert (await client.get(path, params={"as_of": text})).status_code == 200
    assert pool.asked[0][-1] == instant


async def test_a_plus_that_was_not_escaped_is_understood(client: httpx.AsyncClient, pool: Pool) -> None:
    await client.get("/v1/reports/latest?as_of=2017-02-06T12:00:00+05:00")
    assert pool.asked[0][-1] == datetime(2017, 2, 6, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2017-02-30", "2017-02-06T12:00:00", "9999-12-31", "0001-01-01T00:00:00+14:00", "1486382400"],
)
@pytest.mark.parametrize("path", ["/v1/reports/latest", "/v1/reports"])
async def test_another_as_of_is_400(client: httpx.AsyncClient, pool: Pool, path: str, text: str) -> None:
    answer = await client.get(path, params={"as_of": text})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-as-of")
    assert pool.asked == []


async def test_an_unchanged_report_is_304_for_each_format(client: httpx.AsyncClient) -> None:
    tags = set()
    for form in ("json", "csv", "html"):
        tag = (await client.get(f"/v1/reports/latest.{form}")).headers["etag"]
        answer = await client.get(f"/v1/reports/latest.{form}", headers={"If-None-Match": f'"x", W/{tag}'})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
        tags.add(tag)
    assert len(tags) == 3


async def test_pages_carry_their_policy(client: httpx.AsyncClient) -> None:
    for path in ("/", "/v1/reports/latest.html"):
        answer = await client.get(path)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "content-security-policy" not in (await client.get("/v1/reports/latest.json")).headers


async def test_the_list_tells_week_revision_and_links(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/reports")).json() == {
        "reports": [
            {
                "week": "2017-01-28",
                "revision": 1,
                "digest": REPORT.digest,
                "published_at": "2017-02-05T05:00:00+00:00",
                "demonstration": False,
                "totals": {"issued": 118, "declined": 51},
                "links": {form: f"/v1/reports/2017-01-28/revisions/1.{form}" for form in ("json", "csv", "html")},
                "status": "provisional",
                "pending": {"issued": 3, "declined": 0},
            }
        ]
    }


@pytest.mark.parametrize(
    ("state", "now", "status", "pending"),
    [
        ("closed", {"issued": 118, "declined": 51}, "provisional", "issued=0, declined=0"),
        ("published", {"issued": 119, "declined": 50}, "provisional", "issued=+1, declined=-1"),
        ("final", {"declined": 51}, "final", "issued=-118, declined=0"),
        ("final", None, "final", "issued=-118, declined=-51"),
    ],
)
@pytest.mark.parametrize("form", ["json", "csv", "html"])
async def test_status_and_what_is_pending_stand_beside_the_document(
    client: httpx.AsyncClient, pool: Pool, state: str, now: dict[str, int] | None, status: str, pending: str, form: str
) -> None:
    pool.row = ROW | {"state": state, "now": now}
    answer = await client.get(f"/v1/reports/2017-01-28.{form}")
    told = [answer.headers[name] for name in ("report-status", "report-pending", "report-newest-revision")]
    assert told == [status, pending, "1"]
    if form == "json":
        assert answer.json() == ROW["figures"], "the document is what its digest covers, and no more"
    again = await client.get(f"/v1/reports/2017-01-28.{form}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.headers["report-pending"]) == (304, pending)


async def test_a_page_that_says_something_else_has_another_tag(client: httpx.AsyncClient, pool: Pool) -> None:
    first = await client.get("/v1/reports/latest.html")
    assert "Provisional" in first.text
    assert "issued +3, declined 0" in first.text
    pool.row = ROW | {"state": "final", "newest": 2}
    second = await client.get("/v1/reports/latest.html", headers={"If-None-Match": first.headers["etag"]})
    assert second.status_code == 200
    assert "Final" in second.text
    assert "/v1/reports/2017-01-28/revisions/2.html" in second.text


async def test_what_was_published_as_of_an_instant_says_nothing_of_today(client: httpx.AsyncClient) -> None:
    as_of = {"as_of": "2017-02-06"}
    (listed,) = (await client.get("/v1/reports", params=as_of)).json()["reports"]
    assert not {"status", "pending"} & set(listed)
    answer = await client.get("/v1/reports/latest.html", params=as_of)
    assert "report-status" not in answer.headers
    assert "Provisional" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_reports_are_only_read(client: httpx.AsyncClient, method: str) -> None:
    assert (await client.request(method, "/v1/reports/latest")).status_code == 405
