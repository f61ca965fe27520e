"""services.ingest.endpoint: `POST /v1/events` with a fake producer."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import httpx
import pytest
from prometheus_client import REGISTRY

from services.ingest.body.media_types import BATCH, LINES, SINGLE
from services.ingest.body.reader import MAX_BODY_BYTES
from services.ingest.endpoint import EventsEndpoint
from services.ingest.limits import RateLimiter
from services.runtime import http
from services.runtime.agencies import AgenciesFile
from tests.support.agencies import EXPIRED, LAS_VEGAS, key_of
from tests.support.problems import assert_problem
from tests.support.processes import batch, post
from tests.unit.sample_endpoint import NOW, Producer
from tests.unit.sample_events import changed, encoded, event
from tests.unit.sample_reports import CALENDAR

GOOD, BAD, OURS_NOT = encoded(event()), encoded(event(version=0)), encoded(event(jurisdiction="06037"))


def deep(arrays: int) -> bytes:
    """An event whose offenses are nested arrays."""
    return encoded(event(offenses="here")).replace(b'"here"', b"[" * arrays + b"]" * arrays)


async def test_an_event_is_202_with_partition_and_offset(client: httpx.AsyncClient, producer: Producer) -> None:
    response = await post(client, GOOD)
    assert response.status_code == 202
    assert response.json()["status"] == "accepted"
    assert response.json()["offset"] == 101
    assert [one.value for one in producer.stored] == [GOOD]


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Basic {key_of(LAS_VEGAS)}",
        key_of(LAS_VEGAS),
        f"Bearer {key_of(EXPIRED)}",
        f"Bearer {key_of(LAS_VEGAS)} x",
    ],
)
async def test_a_missing_or_invalid_key_is_401(
    client: httpx.AsyncClient, producer: Producer, authorization: str | None
) -> None:
    del client.headers["Authorization"]
    headers = {} if authorization is None else {"Authorization": authorization}
    response = await post(client, GOOD, **headers)
    body = assert_problem(response, 401, "unknown-key")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert key_of(LAS_VEGAS) not in json.dumps(body)
    assert producer.stored == []


async def test_the_scheme_is_case_insensitive(client: httpx.AsyncClient) -> None:
    assert (await post(client, GOOD, Authorization=f"bearer  {key_of(LAS_VEGAS)}")).status_code == 202


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
async def test_another_method_is_405(client: httpx.AsyncClient, producer: Producer, method: str) -> None:
    response = await client.request(method, "/v1/events", headers={"Content-Type": SINGLE})
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert producer.stored == []


@pytest.mark.parametrize("media_type", ["", "application/json", "text/plain", "application/cloudevents", f"x/{SINGLE}"])
async def test_another_media_type_is_415(client: httpx.AsyncClient, media_type: str) -> None:
    assert SINGLE in assert_problem(await post(client, GOOD, media_type), 415, "unsupported-media-type")["detail"]


@pytest.mark.parametrize("encoding", ["deflate", "br", "identity, gzip"])
async def test_another_encoding_is_415(client: httpx.AsyncClient, encoding: str) -> None:
    assert_problem(await post(client, GOOD, **{"Content-Encoding": encoding}), 415, "unsupported-encoding")


@pytest.mark.parametrize("media_type", [f"{SINGLE}; charset=utf-8", SINGLE.upper(), f" {SINGLE} ; charset=UTF-8"])
async def test_a_media_type_may_have_parameters(client: httpx.AsyncClient, media_type: str) -> None:
    assert (await post(client, GOOD, media_type, **{"Content-Encoding": "identity"})).status_code == 202


@pytest.mark.parametrize("media_type", [SINGLE, BATCH])
async def test_an_empty_body_is_400(client: httpx.AsyncClient, media_type: str) -> None:
    assert_problem(await post(client, b"", media_type), 400, "empty-body")


async def test_a_content_length_above_the_limit_is_413_without_reading(client: httpx.AsyncClient) -> None:
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append("a part")
        yield b"["

    response = await post(client, body(), BATCH, **{"Content-Length": str(MAX_BODY_BYTES + 1)})
    assert read == []
    assert_problem(response, 413, "too-large")


async def test_a_body_that_grows_too_large_is_413(client: httpx.AsyncClient, producer: Producer) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"[" * 65_536

    assert_problem(await post(client, endless(), BATCH), 413, "too-large")
    assert producer.stored == []


async def test_a_body_of_exactly_the_limit_is_read(client: httpx.AsyncClient) -> None:
    assert (await post(client, batch([GOOD]).ljust(MAX_BODY_BYTES), BATCH)).status_code == 200
    assert_problem(await post(client, batch([GOOD]).ljust(MAX_BODY_BYTES + 1), BATCH), 413, "too-large")


@pytest.mark.parametrize(
    ("value", "status", "code"),
    [
        (b"x", 400, "not-json"),
        (b"[]", 400, "not-json"),
        (b"\xff", 400, "not-utf8"),
        (b'{"x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", 400, "not-json"),
        (deep(5_000), 400, "not-json"),
        (deep(5_000)[:5_000], 400, "not-json"),
        (GOOD.ljust(20_000), 413, "too-large"),
        (BAD, 422, "out-of-range"),
        (OURS_NOT, 422, "jurisdiction-not-allowed"),
        (encoded(changed(event(), "source", "/agencies/x")), 422, "source-not-allowed"),
    ],
)
async def test_a_single_event_that_is_refused_has_the_status_of_its_code(
    client: httpx.AsyncClient, producer: Producer, value: bytes, status: int, code: str
) -> None:
    body = assert_problem(await post(client, value), status, code)
    assert body["id"] == (None if status == 400 else "example/1/issued")
    assert producer.stored == []


async def test_a_batch_that_is_all_stored_is_200(client: httpx.AsyncClient) -> None:
    response = await post(client, batch([GOOD, GOOD]), BATCH)
    assert response.status_code == 200
    assert [one["offset"] for one in response.json()["receipts"]] == [101, 102]
    assert response.json()["summary"] == {"lines": 2, "accepted": 2, "rejected": 0, "unavailable": 0}
    assert "retry-after" not in response.headers


async def test_a_batch_with_refusals_is_207_and_the_rest_is_stored(
    client: httpx.AsyncClient, producer: Producer
) -> None:
    response = await post(client, batch([BAD, GOOD, b"1", OURS_NOT, GOOD]), BATCH)
    assert response.status_code == 207
    receipts = response.json()["receipts"]
    assert [(one["line"], one["status"], one.get("code")) for one in receipts] == [
        (1, "rejected", "out-of-range"),
        (2, "accepted", None),
        (3, "rejected", "not-json"),
        (4, "rejected", "jurisdiction-not-allowed"),
        (5, "accepted", None),
    ]
    assert response.json()["summary"] == {"lines": 5, "accepted": 2, "rejected": 3, "unavailable": 0}
    assert [one.line for one in producer.stored] == [2, 5]


async def test_a_bad_event_does_not_affect_its_batch(client: httpx.AsyncClient) -> None:
    deep = b'{"x": ' + b"[" * 900 + b"]" * 900 + b"}"
    response = await post(client, batch([GOOD, deep]), BATCH)
    assert response.status_code == 207
    assert [one["status"] for one in response.json()["receipts"]] == ["accepted", "rejected"]


async def test_an_event_of_any_depth_does_not_affect_other_lines(client: httpx.AsyncClient) -> None:
    response = await post(client, b"\n".join([GOOD, deep(5_000), deep(7_000), b"[" * 1_000, GOOD]), LINES)
    assert response.status_code == 207
    *receipts, last = (json.loads(line) for line in response.text.splitlines())
    assert [one["status"] for one in receipts] == ["accepted", *["rejected"] * 3, "accepted"]
    assert {one.get("code") for one in receipts[1:4]} == {"not-json"}
    assert last["summary"]["lines"] == 5


async def test_a_batch_with_an_event_of_any_depth_is_not_an_internal_error(client: httpx.AsyncClient) -> None:
    """The maximum depth differs slightly between the batch and its events, so all depths near it are tested."""
    limit, seen = sys.getrecursionlimit(), set()
    for depth in [*range(limit - 200, limit + 10), 5_000]:
        response = await post(client, batch([GOOD, deep(depth)]), BATCH)
        seen.add(response.status_code)
        if response.status_code == 207:
            assert [one.get("code") for one in response.json()["receipts"]] == [None, "not-json"]
        else:
            assert_problem(response, 400, "not-a-batch")
    assert seen == {207, 400}


@pytest.mark.parametrize("body", [b"{}", b"[", b"[" * 100_000])
async def test_a_malformed_batch_is_400(client: httpx.AsyncClient, body: bytes) -> None:
    assert_problem(await post(client, body, BATCH), 400, "not-a-batch")


async def test_a_batch_of_too_many_events_is_413_with_the_alternative(client: httpx.AsyncClient) -> None:
    assert LINES in assert_problem(await post(client, batch([b"1"] * 1_001), BATCH), 413, "batch-too-long")["detail"]


async def test_without_kafka_it_is_503_with_retry_after(
    client: httpx.AsyncClient, endpoint: EventsEndpoint, producer: Producer
) -> None:
    endpoint.producer = None
    response = await post(client, GOOD)
    assert_problem(response, 503, "kafka-unavailable")
    assert int(response.headers["retry-after"]) > 0
    assert producer.stored == []


async def test_an_unacknowledged_event_is_503_and_retryable(client: httpx.AsyncClient, producer: Producer) -> None:
    producer.lost = {1}
    response = await post(client, GOOD)
    body = assert_problem(response, 503, "not-acknowledged")
    assert body["retryable"] is True
    assert int(response.headers["retry-after"]) > 0


async def test_a_partly_acknowledged_batch_is_207_with_receipts(client: httpx.AsyncClient, producer: Producer) -> None:
    producer.lost = {2}
    response = await post(client, batch([GOOD, GOOD, BAD]), BATCH)
    assert response.status_code == 207
    assert [one["status"] for one in response.json()["receipts"]] == ["accepted", "unavailable", "rejected"]
    assert response.json()["summary"] == {"lines": 3, "accepted": 1, "rejected": 1, "unavailable": 1}
    assert int(response.headers["retry-after"]) > 0


async def test_without_an_agencies_file_it_is_503(tmp_path: Path) -> None:
    endpoint = EventsEndpoint(AgenciesFile(tmp_path / "missing", lambda: 0.0), lambda: NOW, RateLimiter(), CALENDAR)

    async def ready() -> str | None:
        return "the agencies file"

    app = http.application(endpoint.routes, ready, cast("http.Lifespan", None))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client:
        assert_problem(await post(client, GOOD), 503, "agencies-unknown")
        assert_problem(await client.get("/readyz"), 503, "not-ready")
        assert (await client.get("/livez")).status_code == 200


async def test_outcomes_are_counted(client: httpx.AsyncClient) -> None:
    await post(client, batch([GOOD, OURS_NOT]), BATCH)
    lines = (await client.get("/metrics")).text.splitlines()
    counted = [line for line in lines if line.startswith("ddor_ingest_events_total{")]
    assert any('kind="issued"' in line and 'outcome="accepted"' in line and 'code=""' in line for line in counted)
    refused = [line for line in counted if 'code="jurisdiction-not-allowed"' in line and 'outcome="rejected"' in line]
    assert refused
    assert all('kind="issued"' in line for line in refused)
    assert any(line.startswith(f'ddor_agency_last_event_timestamp_seconds{{agency="{LAS_VEGAS}"}}') for line in lines)


async def test_the_time_to_the_receipts_is_measured_once_a_request(
    client: httpx.AsyncClient, endpoint: EventsEndpoint, producer: Producer
) -> None:
    def measured(outcome: str) -> float:
        return REGISTRY.get_sample_value("ddor_ingest_store_duration_seconds_count", {"outcome": outcome}) or 0

    final, unavailable = measured("final"), measured("unavailable")
    await post(client, batch([GOOD, OURS_NOT]), BATCH)
    assert (measured("final"), measured("unavailable")) == (final + 1, unavailable)
    producer.lost = {2}
    assert (await post(client, batch([GOOD, GOOD, BAD]), BATCH)).status_code == 207
    assert (measured("final"), measured("unavailable")) == (final + 1, unavailable + 1)
    endpoint.producer = None
    assert (await post(client, GOOD)).status_code == 503
    assert (measured("final"), measured("unavailable")) == (final + 1, unavailable + 2)


async def test_an_unknown_address_is_a_problem_too(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get("/v2/events"), 404, "not-found")
