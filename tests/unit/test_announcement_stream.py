"""services.publisher.site.announcement_stream: shared statements, heartbeats, limits, and the end of a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from starlette.requests import Request

from services.publisher.site import announcement_stream, event_stream
from services.publisher.site.announcement_stream import AnnouncementStream
from services.publisher.site.event_stream import EventStream
from services.publisher.site.reader import Reader
from tests.support.event_source import Event
from tests.support.problems import assert_problem
from tests.support.waiting import until
from tests.unit.sample_reader import Pool, reading
from tests.unit.test_event_stream import FINAL, PATH, READY, parsed


@pytest.fixture
def pool() -> Pool:
    made = Pool()
    made.messages = [(3, READY), (7, FINAL)]
    return made


class Streams:
    """Streams over a fake database, without HTTP."""

    def __init__(self, reader: Reader) -> None:
        self.stopping = asyncio.Event()
        self.made = AnnouncementStream(reader, self.stopping)

    def pieces(self, at: int) -> Any:
        return self.made._events(at)

    async def response(self, start: str = "beginning") -> EventStream:
        query = f"from={start}".encode()
        made = await self.made.stream(Request({"type": "http", "method": "GET", "headers": [], "query_string": query}))
        assert isinstance(made, EventStream)
        return made


@pytest.fixture
async def streams(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Streams]:
    for name in ("POLL_SECONDS", "SHARED_SECONDS", "HEARTBEAT_SECONDS"):
        monkeypatch.setattr(announcement_stream, name, 0.01)
    reader = Reader(lambda: pool)  # type: ignore[arg-type,return-value]
    async with reader.connected():
        yield Streams(reader)


async def test_a_stream_sends_what_follows_its_position_then_waits_with_heartbeats(
    streams: Streams, pool: Pool
) -> None:
    async with aclosing(streams.pieces(3)) as pieces:
        assert await anext(pieces) == b"retry: 5000\nid: 3\n\n"
        assert parsed(await anext(pieces)) == [Event("7", "report-final", FINAL)]
        assert [await anext(pieces) for _ in range(2)] == [b":\n\n"] * 2
        pool.messages.append((9, READY))
        assert parsed(await _no_heartbeat(pieces)) == [Event("9", "report-ready", READY)]


async def _no_heartbeat(pieces: Any) -> bytes:
    while (piece := await anext(pieces)) == b":\n\n":
        pass
    return bytes(piece)


async def test_a_stream_waits_while_postgresql_is_away_and_loses_nothing(streams: Streams, pool: Pool) -> None:
    async with aclosing(streams.pieces(3)) as pieces:
        await anext(pieces)
        pool.broken = ConnectionRefusedError()
        assert await anext(pieces) == b":\n\n"
        pool.broken = None
        assert parsed(await _no_heartbeat(pieces)) == [Event("7", "report-final", FINAL)]


async def test_a_defect_ends_a_stream(streams: Streams, pool: Pool) -> None:
    pool.broken = LookupError()
    async with aclosing(streams.pieces(3)) as pieces:
        await anext(pieces)
        with pytest.raises(LookupError):
            await anext(pieces)


async def test_all_streams_at_a_position_share_a_statement(
    streams: Streams, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcement_stream, "SHARED_SECONDS", 60.0)
    made = [streams.pieces(3) for _ in range(30)]
    await asyncio.gather(*(anext(one) for one in made))
    events = await asyncio.gather(*(anext(one) for one in made))
    assert set(events) == {event_stream.event(7, FINAL)}
    assert pool.pages_read == 1
    for one in made:
        await one.aclose()


class Connection:
    """The ASGI side of one response."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.gone = asyncio.Event()
        self.readable = asyncio.Event()
        self.readable.set()

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.readable.wait()
        self.sent.append(message)

    async def has_sent(self, count: int) -> bool:
        return len(self.sent) >= count

    async def run(self, response: EventStream) -> None:
        await response({"type": "http"}, self.receive, self.send)


@pytest.mark.parametrize("how", ["gone", "stopping"])
async def test_a_stream_ends_at_once_with_its_client_or_its_process(streams: Streams, how: str) -> None:
    connection = Connection()
    running = asyncio.create_task(connection.run(await streams.response()))
    await until(lambda: connection.has_sent(4), "the head, the opening and two events")
    assert streams.made._open == 1
    (connection.gone if how == "gone" else streams.stopping).set()
    await asyncio.wait_for(running, 1)
    assert connection.sent[-1] == {"type": "http.response.body", "body": b""}
    assert streams.made._open == 0


async def test_the_number_of_streams_is_limited(streams: Streams, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcement_stream, "MAX_STREAMS", 2)
    responses = await asyncio.gather(*(streams.response() for _ in range(3)), return_exceptions=True)
    refused = [one for one in responses if isinstance(one, Exception)]
    assert [getattr(one, "code", one) for one in refused] == ["too-many-streams"]
    monkeypatch.setattr(announcement_stream, "MAX_STREAMS", 0)
    async with reading(pool) as client:
        response = await client.get(PATH)
        assert_problem(response, 503, "too-many-streams")
        assert response.headers["retry-after"] == "60"
        assert (await client.head(PATH)).status_code == 200


async def test_a_failed_send_frees_its_place(streams: Streams) -> None:
    async def send(_: Any) -> None:
        raise BrokenPipeError

    for _ in range(2):
        with pytest.raises(BrokenPipeError):
            await (await streams.response())({"type": "http"}, Connection().receive, send)
    assert streams.made._open == 0


async def test_a_client_that_does_not_read_delays_only_its_own_stream(streams: Streams, pool: Pool) -> None:
    pool.messages = [(at, READY) for at in range(1_000)]
    stuck = Connection()
    running = asyncio.create_task(stuck.run(await streams.response()))
    await until(lambda: stuck.has_sent(1), "the head")
    stuck.readable.clear()
    await asyncio.sleep(0.1)
    assert pool.pages_read <= 2, "nothing is read ahead"
    stuck.gone.set()
    stuck.readable.set()
    await asyncio.wait_for(running, 1)
