"""services.runtime.request_id: the id of a request in its response, its problem and its log lines."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from uuid import UUID

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from services.ingest.body.media_types import LINES, SINGLE
from services.ingest.endpoint import EventsEndpoint
from services.runtime import http, request_id
from tests.support import serving
from tests.support.serving import listening
from tests.unit import sample_endpoint
from tests.unit.sample_events import encoded, event

pytestmark = pytest.mark.usefixtures("log_lines")
GOOD = "agency-7_batch.12"
REFUSED = ("", "x" * 65, "two words", "Jane,Doe", "é", "A12345678", "a-123-456-789", "123456789", "x\x00y", '"id"')


@pytest.fixture
async def client(endpoint: EventsEndpoint) -> AsyncIterator[httpx.AsyncClient]:
    async with sample_endpoint.connected(endpoint) as client:
        yield client


def test_the_id_of_the_client_is_used() -> None:
    assert request_id.choose([(b"host", b"x"), (b"x-request-id", GOOD.encode())]) == GOOD


@pytest.mark.parametrize("value", REFUSED)
def test_an_id_that_may_be_personal_or_break_a_log_is_replaced(value: str) -> None:
    chosen = request_id.choose([(b"x-request-id", value.encode("utf-8"))])
    assert chosen == str(UUID(chosen))
    assert chosen != request_id.choose([(b"x-request-id", value.encode("utf-8"))])


def test_two_ids_are_ambiguous_and_a_missing_one_is_chosen() -> None:
    for headers in ([(b"x-request-id", b"a"), (b"x-request-id", b"b")], []):
        assert UUID(request_id.choose(headers))


@pytest.mark.parametrize("given", [GOOD, None])
async def test_responses_problems_and_log_lines_name_the_request(
    client: httpx.AsyncClient, log_lines: io.StringIO, given: str | None
) -> None:
    headers = {"Content-Type": SINGLE, "Authorization": "Bearer none"} | ({"X-Request-ID": given} if given else {})
    response = await client.post("/v1/events", content=encoded(event()), headers=headers)
    assert response.status_code == 401
    named = response.headers["X-Request-ID"]
    assert named == (given or str(UUID(named)))
    assert response.json()["request_id"] == named
    line = next(one for one in map(json.loads, log_lines.getvalue().splitlines()) if one.get("code") == "unknown-key")
    assert (line["request_id"], line["service"]) == (named, "ingest")
    assert "trace_id" not in line


@pytest.mark.parametrize("media_type", [SINGLE, LINES])
async def test_a_successful_response_names_the_request(client: httpx.AsyncClient, media_type: str) -> None:
    headers = {"Content-Type": media_type, "X-Request-ID": GOOD}
    response = await client.post("/v1/events", content=encoded(event()), headers=headers)
    assert (response.is_success, response.headers["X-Request-ID"]) == (True, GOOD)


async def _fail(_: Request) -> Response:
    raise RuntimeError("planted")


async def _succeed(_: Request) -> Response:
    return PlainTextResponse("ok")


async def _ready() -> str | None:
    return None


@asynccontextmanager
async def _serving() -> AsyncIterator[int]:
    async with listening(
        http.application([Route("/fail", _fail), Route("/ok", _succeed)], _ready, nullcontext)
    ) as port:
        yield port


async def test_a_failure_in_the_program_names_the_request(log_lines: io.StringIO) -> None:
    async with _serving() as port, httpx.AsyncClient(trust_env=False) as client:
        response = await client.get(f"http://127.0.0.1:{port}/fail", headers={"X-Request-ID": GOOD})
    assert (response.status_code, response.headers["X-Request-ID"]) == (500, GOOD)
    assert response.json()["request_id"] == GOOD
    failures = [one for one in map(json.loads, log_lines.getvalue().splitlines()) if "planted" in json.dumps(one)]
    assert [one["request_id"] for one in failures] == [GOOD]


async def test_the_publisher_names_requests_too() -> None:
    async with serving.publisher() as site, httpx.AsyncClient(trust_env=False) as client:
        address = f"http://127.0.0.1:{site.port}/v1/reports"
        responses = [await client.get(f"{address}{path}", headers={"X-Request-ID": GOOD}) for path in ("", "/planted")]
    assert [one.headers["X-Request-ID"] for one in responses] == [GOOD, GOOD]
    assert [one.json().get("request_id") for one in responses if one.status_code == 404] == [GOOD]


async def test_pipelined_requests_have_their_own_ids() -> None:
    """The server starts the second request, and refuses the third, while it ends the first."""
    ask = b"GET /%b HTTP/1.1\r\nHost: here\r\n%b\r\n"
    sent = ask % (b"ok", b"X-Request-ID: one\r\n") + ask % (b"none", b"") + b"not HTTP at all\r\n\r\n"

    def exchange(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            connection.sendall(sent)
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    async with _serving() as port:
        received = await asyncio.to_thread(exchange, port)
    first, second, third = re.split(rb"HTTP/1\.1 (?=\d{3} )", received)[1:]
    assert b"x-request-id: one\r\n" in first
    assert second.startswith(b"404")
    assert UUID(json.loads(second.partition(b"\r\n\r\n")[2])["request_id"])
    assert third.startswith(b"400")
    assert "request_id" not in json.loads(third.partition(b"\r\n\r\n")[2])
    assert b"one" not in second + third


def test_there_is_no_id_outside_of_requests() -> None:
    assert request_id.current() is None
