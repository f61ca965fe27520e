"""services.runtime.connections over real sockets: clients that keep a connection waiting are let go."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from services.runtime import connections, lingering
from services.runtime.connections import MAX_HEAD_BYTES, BoundedProtocol
from tests.support.waiting import until

HEAD = b"GET / HTTP/1.1\r\nHost: service\r\n"
ASKED = HEAD + b"\r\n"
PIECE = bytes(65_536)
UPLOAD = b"POST / HTTP/1.1\r\nHost: service\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"10000\r\n" + PIECE + b"\r\n"


class App:
    """Answers `pieces` pieces when it is let to."""

    def __init__(self, pieces: int = 1) -> None:
        self.pieces = pieces
        self.open = asyncio.Event()
        self.open.set()
        self.ended = asyncio.Event()

    async def __call__(self, _: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await self.open.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(self.pieces):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        self.ended.set()


class Connection:
    """Bytes to the service and back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> bytes:
        """The body of a chunked answer."""
        await self.reader.readuntil(b"\r\n\r\n")
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return body

    async def let_go(self) -> None:
        """Send until the connection ends."""
        with pytest.raises(ConnectionError):
            await self._send_for_ever()

    async def _send_for_ever(self) -> None:
        while True:
            self.writer.write(CHUNK)
            await self.writer.drain()
            await asyncio.sleep(0.01)

    async def refused(self) -> tuple[int, str]:
        """Status and code of the answer with which the connection ends."""
        head, _, body = (await self.reader.read()).partition(b"\r\n\r\n")
        assert b"\r\nconnection: close" in head
        return int(head.split(b" ", 2)[1]), json.loads(body)["code"]


@asynccontextmanager
async def connected(app: App) -> AsyncIterator[Connection]:
    config = uvicorn.Config(app, log_config=None, lifespan="off")
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: BoundedProtocol(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=2 * len(PIECE))
    try:
        async with asyncio.timeout(60):
            yield Connection(reader, writer)
    finally:
        writer.transport.abort()
        server.close()
        await asyncio.gather(*state.tasks, return_exceptions=True)


@asynccontextmanager
async def narrow(app: App, keep_alive: int = 1) -> AsyncIterator[tuple[socket.socket, ServerState]]:
    """A client that reads when it is told to, at a server; sockets keep next to nothing between them."""
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_keep_alive=keep_alive)
    state = ServerState()
    loop = asyncio.get_running_loop()
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    server = await loop.create_server(lambda: BoundedProtocol(config, state, {}), sock=listening)
    try:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.setblocking(False)
            await loop.sock_connect(client, listening.getsockname())
            async with asyncio.timeout(60):
                yield client, state
    finally:
        server.close()
        await asyncio.gather(*state.tasks, return_exceptions=True)


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(connections, "UNREAD_SECONDS", 0.5)


@pytest.mark.parametrize("sent", [b"", b"GE", HEAD], ids=["nothing", "half a word", "half a head"])
async def test_a_head_that_does_not_come_is_408(hurry: None, sent: bytes) -> None:
    async with connected(App()) as one:
        one.writer.write(sent)
        assert await one.refused() == (408, "too-slow")


async def test_a_head_that_comes_byte_by_byte_is_408(hurry: None) -> None:
    async with connected(App()) as one:

        async def dribble() -> None:
            one.writer.write(HEAD + b"X-Slow: ")
            while True:
                one.writer.write(b"x")
                await asyncio.sleep(0.02)

        dribbling = asyncio.create_task(dribble())
        assert await one.refused() == (408, "too-slow")
        dribbling.cancel()


async def test_the_head_of_a_later_request_has_its_own_time(hurry: None) -> None:
    async with connected(App()) as one:
        for _ in range(4):
            one.writer.write(ASKED)
            assert await one.answer() == PIECE
            await asyncio.sleep(0.2)
        one.writer.write(HEAD)
        assert await one.refused() == (408, "too-slow")


async def test_a_head_behind_a_request_that_is_still_being_answered_waits(hurry: None) -> None:
    app = App()
    app.open.clear()
    async with connected(app) as one:
        one.writer.write(ASKED + HEAD)
        await asyncio.sleep(1.5)
        app.open.set()
        assert await one.answer() == PIECE
        one.writer.write(b"\r\n")
        assert await one.answer() == PIECE


_CHUNKED = b"POST / HTTP/1.1\r\nHost: service\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"


@pytest.mark.parametrize(
    ("begun", "piece"),
    [
        (b"GET /", b"a" * 1_000),
        (HEAD + b"X-Long: ", b"x" * 1_000),
        (HEAD, b"X-Again: " + b"x" * 1_000 + b"\r\n"),
    ],
    ids=["path", "header", "headers"],
)
async def test_a_head_without_end_is_431(begun: bytes, piece: bytes) -> None:
    async with connected(App()) as one:
        one.writer.write(begun)
        await send_too_much(one, piece)
        assert await one.refused() == (431, "head-too-large")


@pytest.mark.parametrize("piece", [b"x" * 1_000, b"X-Again: " + b"x" * 1_000 + b"\r\n"], ids=["trailer", "trailers"])
async def test_trailers_without_end_end_the_connection(piece: bytes) -> None:
    app = App()
    async with connected(app) as one:
        one.writer.write(_CHUNKED + b"X-First: ")
        await send_too_much(one, piece)
        assert await one.reader.read() == b""


async def send_too_much(one: Connection, piece: bytes) -> None:
    """More than a head may have, in several reads of the other side."""
    for number in range(4 * MAX_HEAD_BYTES // len(piece)):
        one.writer.write(piece)
        if number % 16 == 0:
            await one.writer.drain()
            await asyncio.sleep(0.005)


async def test_what_is_no_http_is_400(hurry: None) -> None:
    async with connected(App()) as one:
        one.writer.write(b"EHLO service\r\n\r\n")
        assert await one.refused() == (400, "bad-request")


async def test_a_client_that_leaves_its_answer_unread_is_let_go(hurry: None) -> None:
    app = App(pieces=1_000)
    async with connected(app) as one:
        one.writer.write(ASKED)
        await app.ended.wait()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await one.answer()


async def test_a_client_that_reads_slowly_is_told_all(hurry: None) -> None:
    app = App(pieces=60)
    async with connected(app) as one:
        one.writer.write(ASKED)
        await one.reader.readuntil(b"\r\n\r\n")
        seen = 0
        while not app.ended.is_set():
            seen += len(await one.reader.read(262_144))
            await asyncio.sleep(0.1)
        while seen < 60 * len(PIECE):
            seen += len(await one.reader.read(262_144))


async def test_a_client_that_reads_only_when_it_has_sent_all_may_take_its_time(hurry: None) -> None:
    class Echo(App):
        async def __call__(self, _: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            more = True
            while more:
                more = (await receive()).get("more_body", False)
                for _ in range(self.pieces if more else 0):
                    await send({"type": "http.response.body", "body": PIECE, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    async with connected(Echo(pieces=200)) as one:
        one.writer.write(b"POST / HTTP/1.1\r\nHost: service\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await asyncio.sleep(1.5)
        one.writer.write(b"0\r\n\r\n")
        assert len(await one.answer()) == 200 * len(PIECE)


class Early(App):
    """Answers before it has read anything, as a refusal does."""

    async def __call__(self, _: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": PIECE})


async def test_a_body_that_goes_on_behind_its_answer_ends_the_connection(
    hurry: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REST_SECONDS", 0.3)
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 0.3)
    async with connected(Early()) as one:
        one.writer.write(UPLOAD)
        assert await one.answer() == PIECE
        await one.let_go()


async def test_a_connection_whose_body_ends_behind_its_answer_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REST_SECONDS", 0.5)
    async with connected(Early()) as one:
        one.writer.write(UPLOAD)
        assert await one.answer() == PIECE
        one.writer.write(CHUNK + b"0\r\n\r\n")
        await asyncio.sleep(1)
        one.writer.write(ASKED)
        assert await one.answer() == PIECE


async def test_a_client_that_never_reads_an_answer_that_was_given_up_is_let_go(
    hurry: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 0.3)

    class GivesUp(App):
        async def __call__(self, _: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    while True:
                        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
            self.ended.set()

    app = GivesUp()
    async with connected(app) as one:
        one.writer.write(UPLOAD)
        await app.ended.wait()
        await one.let_go()


SHORT = bytes(50_000)
"""Too little for the server to wait with more."""


class Short(App):
    """Answers little; goes on as the query says."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"50000")]})
        await send({"type": "http.response.body", "body": SHORT[1:], "more_body": True})
        if scope["query_string"] == b"fail":
            raise RuntimeError
        await send({"type": "http.response.body", "body": SHORT[:1]})


@pytest.mark.parametrize(
    "asked",
    [
        ASKED,
        HEAD + b"Connection: close\r\n\r\n",
        ASKED.replace(b"/", b"/?fail", 1),
        UPLOAD,
    ],
    ids=["kept alive", "closed", "broken off", "before the request has ended"],
)
async def test_the_last_bytes_of_an_answer_must_be_read_in_time_too(
    hurry: None, monkeypatch: pytest.MonkeyPatch, asked: bytes
) -> None:
    monkeypatch.setattr(connections, "REST_SECONDS", 0.3)
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 0.3)
    async with narrow(Short()) as (client, state):
        client.send(asked)

        async def begun() -> bool:
            return bool(state.connections)

        async def let_go() -> bool:
            return not state.connections

        await until(begun, "a connection")
        await until(let_go, "the connection let go", 20)


async def test_a_client_that_reads_each_answer_late_but_in_time_is_told_all(
    hurry: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever somebody looks an answer is unread, but never the one of then."""
    monkeypatch.setattr(connections, "UNREAD_SECONDS", 2.0)
    monkeypatch.setattr(connections, "HEAD_SECONDS", 20.0)
    loop = asyncio.get_running_loop()
    async with narrow(Short(), keep_alive=30) as (client, _):
        for _number in range(4):
            client.send(ASKED)
            await asyncio.sleep(1.2)
            got = b""
            while len(got.partition(b"\r\n\r\n")[2]) < len(SHORT):
                piece = await loop.sock_recv(client, 65_536)
                assert piece
                got += piece
