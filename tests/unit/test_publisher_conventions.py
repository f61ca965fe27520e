"""services.publisher.site: conditions, Accept, instants and query parameters as HTTP clients and caches use them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.support.problems import assert_problem
from tests.unit.sample_reader import Pool, reading


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
async def client(pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(pool) as client:
        del client.headers["Accept"]
        yield client


Lines = list[tuple[str, str]]


async def get_with(
    client: httpx.AsyncClient, name: str, *values: str, path: str = "/v1/reports/latest"
) -> httpx.Response:
    headers: Any = [(name, value) for value in values]
    return await client.get(path, headers=headers)


# Conditions


async def test_304_has_the_headers_that_a_cache_needs(client: httpx.AsyncClient) -> None:
    """RFC 9110, section 15.4.5: a 304 has the caching headers of the 200."""
    whole = await client.get("/v1/reports/latest")
    response = await get_with(client, "If-None-Match", whole.headers["etag"])
    assert response.status_code == 304
    for name in ("etag", "cache-control", "vary", "report-status"):
        assert response.headers[name] == whole.headers[name]
    assert response.headers["vary"] == "Accept, Accept-Encoding"


async def test_any_tag_matches_an_existing_report(client: httpx.AsyncClient, pool: Pool) -> None:
    assert (await get_with(client, "If-None-Match", "*")).status_code == 304
    pool.row = None
    assert_problem(await get_with(client, "If-None-Match", "*"), 404, "report-not-found")


async def test_a_tag_is_found_in_a_list_on_any_line(client: httpx.AsyncClient) -> None:
    tag = (await client.get("/v1/reports/latest")).headers["etag"].removeprefix("W/")
    for values in ([f'"x", W/{tag}'], ['"x"', tag], [tag, '"x"'], [f'"a,b",, {tag}']):
        assert (await get_with(client, "If-None-Match", *values)).status_code == 304


async def test_a_tag_within_another_or_in_a_malformed_list_does_not_match(client: httpx.AsyncClient) -> None:
    tag = (await client.get("/v1/reports/latest")).headers["etag"].removeprefix("W/")
    for values in ([f"x{tag}"], [f"{tag}x"], [f'"x" {tag}'], [f"*, {tag}"], [tag.strip('"')], [f'"{tag}"'], ['"', tag]):
        assert (await get_with(client, "If-None-Match", *values)).status_code == 200, values


# Accept


@pytest.mark.parametrize(
    ("values", "media_type"),
    [
        (["application/*"], "application/json"),
        (["application/json;q=0.1, text/csv;q=0.2"], "text/csv"),
        (["application/json;q=0, */*"], "text/html"),
        (["text/html;q=0.5", "text/csv"], "text/csv"),
        (["text/csv;q=0, text/*"], "text/html"),
        ([""], "application/json"),
        ([], "application/json"),
    ],
)
async def test_accept_is_read_with_its_weights(client: httpx.AsyncClient, values: list[str], media_type: str) -> None:
    response = await get_with(client, "Accept", *values)
    assert response.status_code == 200
    assert response.headers["content-type"].partition(";")[0] == media_type


@pytest.mark.parametrize("values", [["*/*;q=0"], ["application/json;q=0"], ["json"], ["image/*", "application/pdf"]])
async def test_406_applies_to_its_accept_header_only(client: httpx.AsyncClient, values: list[str]) -> None:
    response = await get_with(client, "Accept", *values)
    assert_problem(response, 406, "not-acceptable")
    assert response.headers["vary"] == "Accept, Accept-Encoding"


# as_of


@pytest.mark.parametrize(
    "text",
    [
        "2017-W05-1", "20170206", "2017-037", "2017-02-06T12Z", "2017-02-06T12:00Z", "20170206T120000Z", "2017-02-06Z",
        "2017-02-06T12:00:00+0500", "2017-02-06T12:00:00+05", "2017-02-06 12:00:00Z", "2017-02-06T12:00:00,5Z",
        "2017-02-06T12:00:00+05:00:30", "2017-02-06T24:00:00Z", "2016-12-31T23:59:60Z", "2017-02-06T12:00:00Z ",
        " 2017-02-06", "2017-02-06\n", "٢٠١٧-٠٢-٠٦", "1899-12-31", "2200-01-01", "2017-02-06T12:00:00 05:00x",
        "+2017-02-06", "-2017-02-06",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/reports", "/v1/reports/2017-01-28/revisions/1"])
async def test_as_of_is_a_date_or_rfc_3339_and_nothing_else(
    client: httpx.AsyncClient, pool: Pool, path: str, text: str
) -> None:
    assert_problem(await client.get(path, params={"as_of": text}), 400, "bad-as-of")
    assert pool.queries == []


async def test_as_of_is_read_as_events_instants_are(client: httpx.AsyncClient, pool: Pool) -> None:
    for text in ("2017-02-06t12:00:00z", "2017-02-06T12:00:00.0000009Z", "2017-02-06T12:00:00-00:00"):
        assert (await client.get("/v1/reports/latest", params={"as_of": text})).status_code == 200
    assert {one[-1] for one in pool.queries} == {datetime(2017, 2, 6, 12, tzinfo=UTC)}


async def test_as_of_twice_is_400(client: httpx.AsyncClient, pool: Pool) -> None:
    assert_problem(await client.get("/v1/reports?as_of=2017-02-06&as_of=2017-02-07"), 400, "bad-as-of")
    assert pool.queries == []


# Query parameters


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/reports", "asof=2017-02-06"), ("/v1/reports/latest", "as-of=x"), ("/v1/reports/latest", "AS_OF=x"),
        ("/v1/reports/latest.html", "as_of=2017-02-06&format=csv"), ("/v1/reports/2017-01-28/revisions/1", "x"),
        ("/v1/reports/2017-01-28/revisions/1/line-list", "as_of=2017-02-06"), ("/v1/reports", "after=x"),
    ],
)  # fmt: skip
async def test_an_unknown_parameter_is_400(client: httpx.AsyncClient, pool: Pool, path: str, query: str) -> None:
    """If it were ignored, the response would contain other figures than requested."""
    assert_problem(await client.get(f"{path}?{query}"), 400, "unknown-parameter")
    assert pool.queries == []


async def test_a_question_mark_without_parameters_is_ignored(client: httpx.AsyncClient) -> None:
    for path in ("/?", "/v1/reports?", "/v1/reports/latest?&"):
        assert (await client.get(path)).status_code == 200


async def test_a_path_is_matched_as_a_whole(client: httpx.AsyncClient, pool: Pool) -> None:
    for path in ("/v1/reports/latest.json%0A", "/v1/reports/2017-01-28%0A", "/v1/reports/latest/revisions/1%0A"):
        assert_problem(await client.get(path), 404, "report-not-found")
    assert pool.queries == []
