"""services.publisher.site: paths, formats, instants and the cache. The statements are tested in tests/integration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import httpx
import pytest

from services.publisher.site import weeks
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
    ("path", "query", "media_type"),
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
        ("/reports/2017-01-28", (WEEK, None), "text/html"),
        ("/reports/latest", (None, None), "text/html"),
    ],
)
async def test_an_address_names_week_revision_and_format(
    client: httpx.AsyncClient, pool: Pool, path: str, query: tuple[object, ...], media_type: str
) -> None:
    response = await client.get(path)
    assert response.status_code == 200
    assert pool.queries == [(*query, None)]
    assert response.headers["content-type"].partition(";")[0] == media_type


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
async def test_an_invalid_path_is_not_found_without_a_query(client: httpx.AsyncClient, pool: Pool, path: str) -> None:
    response = await client.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "report-not-found")
    assert response.headers["content-type"] == "application/problem+json"
    assert pool.queries == []


@pytest.mark.parametrize("path", ["/reports/2017-01-28.html", "/reports/1", "/jurisdictions/99999"])
async def test_an_invalid_path_of_a_page_is_a_page(client: httpx.AsyncClient, pool: Pool, path: str) -> None:
    response = await client.get(path)
    assert (response.status_code, response.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "<h1>Not Found</h1>" in response.text
    assert 'href="/reports"' in response.text
    assert pool.queries == []


async def test_the_front_page_is_the_latest_week(client: httpx.AsyncClient, pool: Pool) -> None:
    front, latest = await client.get("/"), await client.get("/reports/latest")
    assert (front.status_code, front.text) == (200, latest.text)
    assert '<link rel="canonical" href="/reports/2017-01-28">' in front.text
    pool.row = None
    empty = await client.get("/")
    assert (empty.status_code, "No week has been published yet." in empty.text) == (200, True)


async def test_a_long_list_has_a_link_to_older_weeks(client: httpx.AsyncClient, pool: Pool) -> None:
    pool.rows = [ROW | {"week": WEEK - timedelta(weeks=number)} for number in range(weeks.WEEKS_LISTED + 1)]
    oldest = pool.rows[-2]["week"]
    listed = await client.get("/v1/reports?as_of=2020-01-01")
    assert len(listed.json()["reports"]) == weeks.WEEKS_LISTED
    assert listed.links["next"]["url"] == f"/v1/reports?before={oldest}&as_of=2020-01-01"
    assert f'href="/reports?before={oldest}"' in (await client.get("/reports")).text
    pool.queries.clear()
    pool.rows = []
    last = await client.get(listed.links["next"]["url"])
    assert pool.queries[0][1:] == (oldest, weeks.WEEKS_LISTED + 1)
    assert "next" not in last.links


async def test_a_missing_report_is_not_found(client: httpx.AsyncClient, pool: Pool) -> None:
    pool.row = None
    response = await client.get("/v1/reports/2017-01-28")
    assert (response.status_code, response.json()["code"]) == (404, "report-not-found")


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
    response = await client.get("/v1/reports/latest", headers={"Accept": accept})
    assert response.headers["content-type"].partition(";")[0] == media_type
    assert response.headers["vary"] == "Accept, Accept-Encoding"


async def test_a_suffix_takes_precedence_over_accept(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/reports/latest.csv", headers={"Accept": "text/html"})
    assert response.headers["content-type"].startswith("text/csv")


async def test_without_an_acceptable_format_it_is_406(client: httpx.AsyncClient, pool: Pool) -> None:
    response = await client.get("/v1/reports/latest", headers={"Accept": "application/pdf"})
    assert (response.status_code, response.json()["code"]) == (406, "not-acceptable")
    assert pool.queries == []


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
    assert instant in pool.queries[0]


async def test_an_unescaped_plus_is_accepted(client: httpx.AsyncClient, pool: Pool) -> None:
    await client.get("/v1/reports/latest?as_of=2017-02-06T12:00:00+05:00")
    assert pool.queries[0][-1] == datetime(2017, 2, 6, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2017-02-30", "2017-02-06T12:00:00", "9999-12-31", "0001-01-01T00:00:00+14:00", "1486382400"],
)
@pytest.mark.parametrize("path", ["/v1/reports/latest", "/v1/reports"])
async def test_another_as_of_is_400(client: httpx.AsyncClient, pool: Pool, path: str, text: str) -> None:
    response = await client.get(path, params={"as_of": text})
    assert (response.status_code, response.json()["code"]) == (400, "bad-as-of")
    assert pool.queries == []


async def test_an_unchanged_report_is_304_for_each_format(client: httpx.AsyncClient) -> None:
    tags = set()
    for form in ("json", "csv", "html"):
        tag = (await client.get(f"/v1/reports/latest.{form}")).headers["etag"]
        response = await client.get(f"/v1/reports/latest.{form}", headers={"If-None-Match": f'"x", {tag}'})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", tag)
        tags.add(tag)
    assert len(tags) == 3


async def test_pages_have_a_content_security_policy(client: httpx.AsyncClient) -> None:
    for path in ("/", "/v1/reports/latest.html"):
        response = await client.get(path)
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
    assert "content-security-policy" not in (await client.get("/v1/reports/latest.json")).headers


async def test_the_list_has_week_revision_and_links(client: httpx.AsyncClient) -> None:
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
        ("final", {}, "final", "issued=-118, declined=-51"),
    ],
)
@pytest.mark.parametrize("form", ["json", "csv", "html"])
async def test_status_and_pending_changes_are_in_headers(
    client: httpx.AsyncClient, pool: Pool, state: str, now: dict[str, int] | None, status: str, pending: str, form: str
) -> None:
    pool.row = ROW | {"state": state, "now": now}
    response = await client.get(f"/v1/reports/2017-01-28.{form}")
    headers = [response.headers[name] for name in ("report-status", "report-pending", "report-newest-revision")]
    assert headers == [status, pending, "1"]
    if form == "json":
        assert response.json() == ROW["figures"], "the document has only the members that its digest covers"
    again = await client.get(f"/v1/reports/2017-01-28.{form}", headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.headers["report-pending"]) == (304, pending)


async def test_a_page_with_other_content_has_another_tag(client: httpx.AsyncClient, pool: Pool) -> None:
    first = await client.get("/v1/reports/latest.html")
    assert "Provisional" in first.text
    assert "issued +3, declined 0" in first.text
    pool.row = ROW | {"state": "final", "newest": 2}
    second = await client.get("/v1/reports/latest.html", headers={"If-None-Match": first.headers["etag"]})
    assert second.status_code == 200
    assert "Final" in second.text
    assert "/v1/reports/2017-01-28/revisions/2.html" in second.text


async def test_a_response_as_of_an_instant_has_no_current_status(client: httpx.AsyncClient) -> None:
    as_of = {"as_of": "2017-02-06"}
    (listed,) = (await client.get("/v1/reports", params=as_of)).json()["reports"]
    assert not {"status", "pending"} & set(listed)
    response = await client.get("/v1/reports/latest.html", params=as_of)
    assert "report-status" not in response.headers
    assert "Provisional" not in response.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_reports_are_only_read(client: httpx.AsyncClient, method: str) -> None:
    assert (await client.request(method, "/v1/reports/latest")).status_code == 405


@pytest.mark.parametrize("form", ["json", "csv", "html"])
async def test_a_revision_is_rendered_once_and_again_only_if_its_row_is_replaced(
    client: httpx.AsyncClient, pool: Pool, form: str
) -> None:
    path = f"/v1/reports/2017-01-28.{form}"
    first = await client.get(path)
    assert (await client.get(path)).content == first.content
    assert pool.documents == 1
    again = await client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, pool.documents) == (304, 1)
    pool.row = ROW | {"row_version": "8", "figures": ROW["figures"] | {"recovered": True}}
    replaced = await client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (replaced.status_code, pool.documents) == (200, 2)


async def test_the_page_is_rendered_again_when_the_status_of_its_week_changes(
    client: httpx.AsyncClient, pool: Pool
) -> None:
    first = await client.get("/v1/reports/2017-01-28.html")
    pool.row = ROW | {"state": "final"}
    second = await client.get("/v1/reports/2017-01-28.html")
    assert "Final" in second.text
    assert "Final" not in first.text
