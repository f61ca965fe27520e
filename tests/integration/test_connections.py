"""services.runtime.connections over real sockets: a head that does not come, or does not end, is answered and ended."""

from __future__ import annotations

import asyncio

import pytest

from services.runtime import connections
from services.runtime.connections import MAX_HEAD_BYTES
from tests.support.raw_http import ASKED, HEAD, PIECE, App, Connection, connected


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)


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
