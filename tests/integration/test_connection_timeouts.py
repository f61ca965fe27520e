"""services.runtime.connection_timeouts over real sockets: the connection ends if a head is late or incomplete."""

from __future__ import annotations

import asyncio

import pytest

from services.runtime import connection_timeouts
from services.runtime.h11_connection import MAX_HEAD_BYTES
from tests.support.raw_http import ASKED, HEAD, PIECE, App, Connection, connected


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_timeouts, "HEAD_SECONDS", 0.5)


@pytest.mark.parametrize("sent", [b"", b"GE", HEAD], ids=["nothing", "half a word", "half a head"])
async def test_a_missing_or_incomplete_head_is_408(short_timeouts: None, sent: bytes) -> None:
    async with connected(App()) as one:
        one.writer.write(sent)
        assert await one.refused() == (408, "too-slow")


async def test_a_head_sent_byte_by_byte_is_408(short_timeouts: None) -> None:
    async with connected(App()) as one:

        async def dribble() -> None:
            one.writer.write(HEAD + b"X-Slow: ")
            while True:
                one.writer.write(b"x")
                await asyncio.sleep(0.02)

        dribbling = asyncio.create_task(dribble())
        assert await one.refused() == (408, "too-slow")
        dribbling.cancel()


async def test_the_head_of_a_later_request_has_its_own_timeout(short_timeouts: None) -> None:
    async with connected(App()) as one:
        for _ in range(4):
            one.writer.write(ASKED)
            assert await one.response() == PIECE
            await asyncio.sleep(0.2)
        one.writer.write(HEAD)
        assert await one.refused() == (408, "too-slow")


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"\r\n\r\n"])
async def test_an_idle_connection_ends_also_after_an_empty_line(sent: bytes) -> None:
    async with connected(App(), keep_alive=1) as one:
        one.writer.write(ASKED)
        assert await one.response() == PIECE
        one.writer.write(sent)
        assert await one.reader.read() == b"", "closed: no other timeout would end the connection"


async def test_a_pipelined_head_has_no_timeout_while_the_previous_response_is_open(short_timeouts: None) -> None:
    app = App()
    app.open.clear()
    async with connected(app) as one:
        one.writer.write(ASKED + HEAD)
        await asyncio.sleep(1.5)
        app.open.set()
        assert await one.response() == PIECE
        one.writer.write(b"\r\n")
        assert await one.response() == PIECE


_CHUNKED = b"POST / HTTP/1.1\r\nHost: service\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"


@pytest.mark.parametrize(
    ("begun", "piece", "refused"),
    [
        (b"GET /", b"a" * 1_000, (414, "target-too-long")),
        (HEAD + b"X-Long: ", b"x" * 1_000, (431, "head-too-large")),
        (HEAD, b"X-Again: " + b"x" * 1_000 + b"\r\n", (431, "head-too-large")),
    ],
    ids=["path", "header", "headers"],
)
async def test_a_head_without_end_is_refused(begun: bytes, piece: bytes, refused: tuple[int, str]) -> None:
    async with connected(App()) as one:
        one.writer.write(begun)
        await send_too_much(one, piece)
        assert await one.refused() == refused


@pytest.mark.parametrize("piece", [b"x" * 1_000, b"X-Again: " + b"x" * 1_000 + b"\r\n"], ids=["trailer", "trailers"])
async def test_trailers_without_end_are_431(piece: bytes) -> None:
    async with connected(App()) as one:
        one.writer.write(_CHUNKED + b"X-First: ")
        await send_too_much(one, piece)
        assert await one.refused() == (431, "head-too-large")


async def send_too_much(one: Connection, piece: bytes) -> None:
    """More than the limit of a request head, in several reads of the server."""
    for number in range(4 * MAX_HEAD_BYTES // len(piece)):
        one.writer.write(piece)
        if number % 16 == 0:
            await one.writer.drain()
            await asyncio.sleep(0.005)


async def test_invalid_http_is_400(short_timeouts: None) -> None:
    async with connected(App()) as one:
        one.writer.write(b"EHLO service\r\n\r\n")
        assert await one.refused() == (400, "bad-request")
