"""services.ingest.endpoint: checks before a body is read, compressed bodies, binary mode and streams."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from services.ingest import admission
from services.ingest import endpoint as events_endpoint
from services.ingest.body import reader
from services.ingest.body.media_types import BATCH, BINARY, LINES, SINGLE
from services.ingest.body.reader import MAX_BODY_BYTES
from services.ingest.endpoint import EventsEndpoint
from tests.support.agencies import LAS_VEGAS, key_of
from tests.support.compressing import zstd
from tests.support.problems import assert_problem
from tests.support.processes import batch, post
from tests.support.waiting import until
from tests.unit import sample_endpoint
from tests.unit.sample_endpoint import Exchange, Producer
from tests.unit.sample_events import changed, encoded, event

GOOD, BAD = encoded(event()), encoded(event(version=0))
PACKED: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in response.text.splitlines()]


class Unread:
    """A body that fails the test if it is read."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")


@pytest.mark.parametrize("media_type", [SINGLE, BATCH, LINES])
async def test_headers_are_checked_before_the_body_is_read(
    client: httpx.AsyncClient, endpoint: EventsEndpoint, media_type: str
) -> None:
    body = Unread()
    assert_problem(await post(client, body, media_type, Authorization="Bearer x"), 401, "unknown-key")
    assert_problem(await post(client, body, "text/plain"), 415, "unsupported-media-type")
    assert_problem(await post(client, body, media_type, Accept="text/html"), 406, "not-acceptable")
    assert_problem(await post(client, body, media_type, **{"Content-Encoding": "br"}), 415, "unsupported-encoding")
    endpoint.producer = None
    response = await post(client, body, media_type)
    assert_problem(response, 503, "kafka-unavailable")
    assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize("accept", ["text/html", "application/xml, text/*", "application/cloudevents+json"])
async def test_accepting_no_json_is_406(client: httpx.AsyncClient, accept: str) -> None:
    assert_problem(await post(client, GOOD, Accept=accept), 406, "not-acceptable")


@pytest.mark.parametrize(
    "accept", ["*/*", "application/*", "application/json; q=0.5, text/html", "Application/JSON", LINES]
)
async def test_any_accept_that_includes_json_is_valid(client: httpx.AsyncClient, accept: str) -> None:
    assert (await post(client, GOOD, Accept=accept)).status_code == 202


async def test_an_agency_above_its_rate_is_429_with_retry_after(tmp_path: Path, producer: Producer) -> None:
    endpoint = sample_endpoint.endpoint(tmp_path, producer)
    file = tmp_path / "agencies.toml"
    named = f'name = "{LAS_VEGAS}"\n'
    file.write_text(file.read_text().replace(named, f"{named}events_per_second = 1\n"))
    async with sample_endpoint.connected(endpoint) as client:
        assert (await post(client, batch([GOOD] * 15), BATCH)).status_code == 200
        response = await post(client, Unread())
        body = assert_problem(response, 429, "too-many-events")
        assert "1 events a second" in body["detail"]
        assert 1 <= int(response.headers["retry-after"]) <= 10
    assert len(producer.stored) == 15


@pytest.mark.parametrize("encoding", PACKED)
async def test_compressed_bodies_are_read(client: httpx.AsyncClient, producer: Producer, encoding: str) -> None:
    pack = PACKED[encoding]
    named = {"Content-Encoding": encoding}
    assert (await post(client, pack(GOOD), **named)).status_code == 202
    assert (await post(client, pack(batch([GOOD, GOOD])), BATCH, **named)).status_code == 200
    assert lines(await post(client, pack(GOOD + b"\n" + GOOD), LINES, **named))[-1]["summary"]["accepted"] == 2
    assert [one.value for one in producer.stored] == [GOOD] * 5


@pytest.mark.parametrize("encoding", PACKED)
async def test_a_body_that_is_too_large_when_decompressed_is_413(client: httpx.AsyncClient, encoding: str) -> None:
    named = {"Content-Encoding": encoding}
    large = PACKED[encoding](random.Random(1).randbytes(MAX_BODY_BYTES // 2 + 1).hex().encode())
    assert len(large) < MAX_BODY_BYTES
    assert_problem(await post(client, large, BATCH, **named), 413, "too-large")
    bomb = PACKED[encoding](bytes(200 * MAX_BODY_BYTES))
    response = await post(client, bomb, BATCH, **named)
    assert_problem(response, 413, response.json()["code"])
    assert response.json()["code"] in {"too-large", "expands-too-much"}, "depends on which limit is reached first"
    assert lines(await post(client, bomb, LINES, **named))[-1]["error"]["code"] == "expands-too-much"
    assert_problem(await post(client, PACKED[encoding](GOOD)[:-3], **named), 400, "bad-compression")
    assert_problem(await post(client, b"no", **named), 400, "bad-compression")


def binary_headers(**more: str) -> dict[str, str]:
    attributes = {name: value for name, value in event().items() if name not in {"data", "datacontenttype"}}
    return {f"ce-{name}": value for name, value in (attributes | more).items()}


async def test_binary_mode_is_202(client: httpx.AsyncClient, producer: Producer) -> None:
    body = json.dumps(event()["data"]).encode()
    response = await post(client, body, f"{BINARY}; charset=utf-8", **binary_headers())
    assert response.status_code == 202
    assert response.json()["id"] == "example/1/issued"
    assert json.loads(producer.stored[0].value) == event()


async def test_binary_mode_has_the_same_rules(client: httpx.AsyncClient, producer: Producer) -> None:
    body = json.dumps(event()["data"]).encode()
    assert_problem(await post(client, body, BINARY), 415, "unsupported-media-type")
    headers = binary_headers(source="/agencies/other")
    assert_problem(await post(client, body, BINARY, **headers), 422, "source-not-allowed")
    assert_problem(await post(client, body, BINARY, **binary_headers(extra="1")), 422, "unknown-field")
    assert_problem(await post(client, body + b',"x":1', BINARY, **binary_headers()), 400, "not-json")
    assert_problem(await post(client, b"", BINARY, **binary_headers()), 400, "empty-body")
    assert producer.stored == []


async def test_a_stream_is_207_with_receipts_and_a_summary(client: httpx.AsyncClient, producer: Producer) -> None:
    producer.lost = {4}
    response = await post(client, b"\n".join([GOOD, b"", BAD, GOOD, b"x"]), LINES)
    assert response.status_code == 207
    assert response.headers["content-type"] == LINES
    shown = [(one.get("line"), one.get("status"), one.get("code")) for one in lines(response)]
    assert shown == [
        (1, "accepted", None),
        (3, "rejected", "out-of-range"),
        (4, "unavailable", "not-acknowledged"),
        (5, "rejected", "not-json"),
        (None, None, None),
    ]
    assert lines(response)[-1] == {"summary": {"lines": 4, "accepted": 1, "rejected": 2, "unavailable": 1}}


async def test_refused_agencies_are_logged_without_keys(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = encoded(changed(event(), "source", "/agencies/other"))
    with structlog.testing.capture_logs() as logged:
        for module in (admission, events_endpoint):
            monkeypatch.setattr(module, "log", structlog.get_logger())
        await post(client, forged + b"\n" + GOOD + b"\n" + forged, LINES)
        await post(client, GOOD, Authorization="Bearer not-a-key")
    shown = [{name: one.get(name) for name in ("event", "code", "agency", "events")} for one in logged]
    assert shown == [
        {"event": "refused", "code": "source-not-allowed", "agency": LAS_VEGAS, "events": 2},
        {"event": "refused", "code": "unknown-key", "agency": None, "events": None},
    ]
    assert "not-a-key" not in str(logged)
    assert key_of(LAS_VEGAS) not in str(logged)


async def test_stopping_ends_a_stream_after_the_lines_that_were_read(endpoint: EventsEndpoint) -> None:
    exchange = Exchange(LINES)
    exchange.put(GOOD + b"\n" + GOOD[:50])
    responding = asyncio.create_task(endpoint(exchange.scope, exchange.incoming.get, exchange.send))

    async def receipt_arrived() -> bool:
        return len(exchange.lines) == 1

    await until(receipt_arrived, "the receipt of the whole line")
    endpoint.stopping.set()
    await asyncio.wait_for(responding, 60)
    assert [one["status"] for one in exchange.lines] == ["accepted"]
    assert exchange.sent[-1]["more_body"] is False


async def test_a_client_that_never_pauses_does_not_prevent_stopping(endpoint: EventsEndpoint) -> None:
    """The next piece is always available, so the stop must be checked first."""
    exchange = Exchange(LINES)

    async def endless() -> dict[str, Any]:
        if len(exchange.sent) > 2:
            endpoint.stopping.set()
        return {"type": "http.request", "body": GOOD + b"\n", "more_body": True}

    await asyncio.wait_for(endpoint(exchange.scope, endless, exchange.send), 60)
    assert exchange.sent[-1]["more_body"] is False
    assert {one["status"] for one in exchange.lines} == {"accepted"}


@pytest.mark.parametrize("media_type", [SINGLE, BATCH])
async def test_a_body_timeout_is_408_and_closes_the_connection(
    endpoint: EventsEndpoint, producer: Producer, media_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "BODY_SECONDS", 0.3)
    exchange = Exchange(media_type)

    async def dribble() -> None:
        while True:
            exchange.put(b" ")
            await asyncio.sleep(0.02)

    dribbling = asyncio.create_task(dribble())
    await asyncio.wait_for(endpoint(exchange.scope, exchange.incoming.get, exchange.send), 60)
    dribbling.cancel()
    start, body = exchange.sent
    assert start["status"] == 408
    assert dict(start["headers"])[b"connection"] == b"close"
    assert json.loads(body["body"])["code"] == "too-slow"
    assert producer.stored == []


@pytest.mark.parametrize("media_type", [SINGLE, LINES])
async def test_a_disconnect_ends_the_request(endpoint: EventsEndpoint, producer: Producer, media_type: str) -> None:
    exchange = Exchange(media_type)
    exchange.put(GOOD + b"\n")
    exchange.incoming.put_nowait({"type": "http.disconnect"})
    await asyncio.wait_for(endpoint(exchange.scope, exchange.incoming.get, exchange.send), 60)
    assert len(producer.stored) == (1 if media_type == LINES else 0)
