"""services.runtime.connections over real sockets: a client that leaves its answer unread is let go, in time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from services.runtime import connections, lingering
from tests.support.raw_http import ASKED, CHUNK, HEAD, PIECE, UPLOAD, App, connected, narrow
from tests.support.waiting import until


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_SECONDS", 0.5)


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
