"""Real clients of `/v1/reports/stream`: curl, Node, Python, nginx; SIGTERM, and a client that does not read."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import httpx
import pytest
import rfc8785

from deploy.local.parts import KafkaPart
from schemas.announcement import announcement
from services.publisher.site import announcement_stream
from services.runtime import connection_timeouts, http, metrics
from tests.integration import test_http_clients
from tests.integration.test_http_clients import nginx, tool
from tests.support import examples, processes
from tests.support.event_source import Event, Parser
from tests.support.example_clients import Running
from tests.support.example_clients import running as started
from tests.support.serving import listening
from tests.support.waiting import until
from tests.unit.sample_reader import Pool, routes
from tests.unit.sample_reports import report, snapshot

_PAGE = (examples.FOLDER.parent / "consumers.md").read_text(encoding="utf-8")
_PATH = "/v1/reports/stream?from=beginning"


def message(revision: int) -> tuple[int, bytes]:
    """A message on `report-ready`, with its offset."""
    made = report(snapshot({"32003": 100 + revision}, {"32003": 51}), revision=revision)
    return 2 * revision, announcement(made.document(), "2017-02-05T05:00:00+00:00")


def line(revision: int) -> str:
    return f"2017-01-28 revision {revision}: issued {100 + revision}, declined 51"


def program(language: str, containing: str) -> str:
    """The program of the page, unchanged."""
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)
    [found] = [block for block in blocks if containing in block]
    return found


@pytest.fixture
def pool() -> Pool:
    made = Pool()
    made.messages = [message(1), message(2)]
    return made


@asynccontextmanager
async def publisher(pool: Pool) -> AsyncIterator[int]:
    """The routes on the real server. Yields the port."""

    async def ready() -> str | None:
        return None

    stopping = asyncio.Event()
    site = routes(pool, stopping)
    async with site.connected(), listening(http.application(site.routes, ready, nullcontext, stopping)) as port:
        yield port


@pytest.fixture
async def port(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    for name in ("POLL_SECONDS", "SHARED_SECONDS"):
        monkeypatch.setattr(announcement_stream, name, 0.05)
    async with publisher(pool) as port:
        yield port


async def lines(one: Running, *expected: str) -> None:
    """Wait until the program has printed these lines and no others."""
    for text in expected:
        await one.prints(text)
    assert one.out == list(expected), one.err


@pytest.mark.parametrize("language", ["python", "javascript"])
async def test_the_programs_of_the_page_print_each_report_once_and_resume(
    pool: Pool, port: int, tmp_path: Path, language: str
) -> None:
    file = tmp_path / ("read.py" if language == "python" else "read.mjs")
    file.write_text(program(language, "last-event-id.txt"))
    command = [sys.executable, str(file)] if language == "python" else [tool("node"), str(file)]
    variables = {"DDOR_PUBLISHER_URL": f"http://127.0.0.1:{port}", "PWD": str(tmp_path)}
    command = ["env", "-C", str(tmp_path), *command]
    async with started(command, variables) as first:
        await lines(first, line(1), line(2))
        pool.messages.append(message(3))
        await lines(first, line(1), line(2), line(3))
    pool.messages.append(message(4))
    async with started(command, variables) as second:
        await lines(second, line(4))


async def test_curl_shows_each_event_when_it_is_published(pool: Pool, port: int) -> None:
    command = program("console", "curl").replace('"$DDOR_PUBLISHER_URL', f'"http://127.0.0.1:{port}')
    tool("curl")
    async with started(["bash", "-c", f"exec {command}"], {}) as curl:
        for number in (1, 2):
            await curl.prints(f"id: {2 * number}")
        pool.messages.append(message(3))
        await curl.prints("id: 6")
        assert [text for text in curl.out if text.startswith("data:")] == [
            f"data: {value.decode()}" for _, value in pool.messages
        ]


async def test_nginx_with_buffering_passes_events_on_at_once(
    pool: Pool, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_http_clients, "NGINX", test_http_clients.NGINX.replace("proxy_buffering off;", ""))
    async with nginx(tmp_path, port, "1.1", "on") as url:
        address = url.removesuffix("/v1/events") + _PATH
        async with started([tool("curl"), "-sSN", address], {}) as curl:
            await curl.prints("id: 4")
            pool.messages.append(message(3))
            await curl.prints("id: 6")


async def test_a_publisher_with_open_streams_stops_at_once_after_sigterm(
    own_kafka: KafkaPart, database: str, agencies_file: Path, tmp_path: Path
) -> None:
    one = processes.service(
        "publisher",
        tmp_path,
        {
            "DDOR_KAFKA_BOOTSTRAP": own_kafka.bootstrap,
            "DDOR_POSTGRES_DSN": database,
            "DDOR_AGENCIES_FILE": str(agencies_file),
            "DDOR_FIRST_WEEK": "2030-01-05",
        },
    )
    with processes.started(one):
        async with started([tool("curl"), "-sSN", one.url + _PATH], {}) as curl:
            await curl.prints("id: beginning")
            began = time.monotonic()
            assert await asyncio.to_thread(one.stop)
            assert await curl.process.wait() == 0, "the response is complete"
            assert time.monotonic() - began < 8, "less than the limit for open requests, which is 15 s"


async def test_a_client_that_does_not_read_is_disconnected_and_buffers_little(
    pool: Pool, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_timeouts, "UNREAD_SECONDS", 1.0)
    large = rfc8785.dumps({"type": "report-ready", "note": "x" * 900_000})
    pool.messages = [(number, large) for number in range(200)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {_PATH} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")

    async def streams() -> bool:
        return bool(metrics.STREAMS._value.get())

    async def ended() -> bool:
        return not await streams()

    await until(streams, "an open stream")
    await until(ended, "the end of the stream", 20)
    assert pool.pages_read <= 6, "four messages a page: what the sockets hold, and nothing more"
    writer.transport.abort()


async def test_many_streams_at_once(pool: Pool, port: int) -> None:
    async def read(client: httpx.AsyncClient) -> list[Event]:
        parser, found = Parser(), list[Event]()
        async with client.stream("GET", _PATH) as response:
            async for piece in response.aiter_raw():
                found += parser.feed(piece)
                if len(found) == len(pool.messages):
                    break
        return found

    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, limits=limits) as client:
        read_by = await asyncio.gather(*(read(client) for _ in range(100)))
    assert {tuple(one) for one in read_by} == {
        tuple(Event(str(at), "report-ready", value) for at, value in pool.messages)
    }
    assert pool.pages_read < 40, "streams share statements"
