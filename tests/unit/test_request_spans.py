"""The spans of ingest: bounded by the limit, none without a key, and what the attributes are."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import structlog

from services.ingest.body.media_types import BATCH, LINES, SINGLE
from services.ingest.endpoint import EventsEndpoint
from services.runtime import logs, tracing
from services.runtime.settings import Settings
from tests.support import serving
from tests.support.agencies import LAS_VEGAS
from tests.support.collector import Collector, attributes, collecting, parent
from tests.support.serving import Site
from tests.unit import sample_endpoint
from tests.unit.sample_endpoint import Producer
from tests.unit.sample_events import encoded, event

VALUE = encoded(event())


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Restore the logging configuration of the process."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@asynccontextmanager
async def traced(endpoint: EventsEndpoint, per_second: float) -> AsyncIterator[tuple[httpx.AsyncClient, Collector]]:
    """A client of the endpoint. The collector has all spans when the block has called `tracing.stop`."""
    with collecting() as collector:
        tracing.start(Settings(otlp_endpoint=collector.address, traces_per_second=per_second), "ingest")
        try:
            async with sample_endpoint.connected(endpoint) as client:
                yield client, collector
        finally:
            await tracing.stop()


async def post(client: httpx.AsyncClient, body: bytes, media_type: str, **headers: str) -> int:
    """Send a body with a sampled context. Returns the status."""
    named = {"Content-Type": media_type, "traceparent": parent(), **headers}
    return (await client.post("/v1/events", content=body, headers=named)).status_code


@pytest.mark.parametrize("media_type", [SINGLE, LINES])
async def test_no_client_can_have_more_spans_than_the_limit(endpoint: EventsEndpoint, media_type: str) -> None:
    async with traced(endpoint, 0.001) as (client, collector):
        for _ in range(20):
            assert await post(client, VALUE, media_type) in (202, 207)
        await tracing.stop()
        assert [one.name for one in collector.spans] == ["POST /v1/events"]


async def test_a_request_without_a_valid_key_has_no_span(endpoint: EventsEndpoint) -> None:
    async with traced(endpoint, 1_000) as (client, collector):
        assert await post(client, VALUE, SINGLE, Authorization="Bearer planted") == 401
        await tracing.stop()
        assert not collector.requests


async def test_a_span_counts_the_events_of_its_request(endpoint: EventsEndpoint, producer: Producer) -> None:
    producer.lost = {2}
    body = b"[" + b",".join([VALUE, VALUE, b"{}"]) + b"]"
    async with traced(endpoint, 1_000) as (client, collector):
        assert await post(client, body, BATCH) == 207
        await tracing.stop()
        (span,) = collector.spans
    assert attributes(span) == {
        "http.request.method": "POST",
        "http.route": "/v1/events",
        "http.response.status_code": 207,
        "ddor.agency": LAS_VEGAS,
        "ddor.events.accepted": 1,
        "ddor.events.rejected": 1,
        "ddor.events.unavailable": 1,
    }


async def test_a_failed_request_has_its_status_as_error(endpoint: EventsEndpoint) -> None:
    endpoint.producer = None
    async with traced(endpoint, 1_000) as (client, collector):
        assert await post(client, VALUE, SINGLE) == 503
        assert await post(client, b"", "text/plain") == 415
        await tracing.stop()
        found = [attributes(one) for one in collector.spans]
    assert [(one["http.response.status_code"], one.get("error.type")) for one in found] == [(503, "503"), (415, None)]


async def test_the_windows_of_a_stream_have_spans_of_their_own(endpoint: EventsEndpoint) -> None:
    async with traced(endpoint, 1_000) as (client, collector):
        assert await post(client, b"\n".join([VALUE] * 2_500), LINES) == 207
        await tracing.stop()
        (request,) = collector.named("POST /v1/events")
        windows = collector.named("store window")
    assert {one.parent_span_id for one in windows} == {request.span_id}
    found = [attributes(one) for one in windows]
    assert sum(int(one["messaging.batch.message_count"]) for one in found) == 2_500
    assert sum(int(one["ddor.events.accepted"]) for one in found) == 2_500
    assert len(windows) >= 3
    assert "ddor.events.accepted" not in attributes(request)


async def test_a_pipelined_request_is_in_no_trace_of_the_request_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server starts the second request while it ends the first. The second has no valid key, and is logged."""
    lines = io.StringIO()
    monkeypatch.setattr(sys, "stderr", lines)
    logs.configure(Settings(log_format="json"), "ingest")
    named = f"Host: here\r\ntraceparent: {parent()}\r\n".encode()

    def exchange(site: Site) -> bytes:
        good = site.words[b"GOOD"].replace(b"Host: here\r\n", named)
        bad = (
            site.words[b"GOOD"]
            .replace(b"Bearer ", b"Bearer x")
            .replace(b"Host: here", b"Host: here\r\nConnection: close")
        )
        with socket.create_connection(("127.0.0.1", site.port), 30) as connection:
            connection.sendall(good + bad)
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    with collecting() as collector:
        tracing.start(Settings(otlp_endpoint=collector.address), "ingest")
        try:
            async with serving.ingest(tmp_path) as site:
                received = await asyncio.to_thread(exchange, site)
        finally:
            await tracing.stop()
    assert [received.count(status) for status in (b" 202 Accepted\r\n", b" 401 Unauthorized\r\n")] == [1, 1]
    (line,) = [one for one in map(json.loads, lines.getvalue().splitlines()) if one.get("code") == "unknown-key"]
    assert "trace_id" not in line
    assert line["request_id"]
