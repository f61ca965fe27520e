"""services.runtime.connection_timeouts over real sockets: a client that does not read is disconnected."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from services.runtime import connection_timeouts, lingering_close
from services.runtime.tls.reloaded import Reloaded
from tests.support import certificates
from tests.support.raw_http import ASKED, CHUNK, HEAD, PIECE, UPLOAD, App, connected, narrow
from tests.support.waiting import until

Tls: TypeAlias = tuple[Reloaded[ssl.SSLContext], ssl.SSLContext] | None


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_timeouts, "UNREAD_SECONDS", 0.5)


@pytest.fixture(params=["TCP", "TLS"])
def tls(request: pytest.FixtureRequest, tmp_path: Path) -> Tls:
    return certificates.https(tmp_path) if request.param == "TLS" else None


async def test_a_client_that_does_not_read_its_response_is_disconnected(short_timeouts: None, tls: Tls) -> None:
    app = App(pieces=1_000)
    async with connected(app, tls=tls) as one:
        one.writer.write(ASKED)
        await app.ended.wait()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await one.response()


async def test_a_response_waits_for_its_reader(tls: Tls) -> None:
    """It is not stored in the memory of the server."""
    app = App(pieces=300)
    async with connected(app, tls=tls) as one:
        one.writer.write(ASKED)
        await asyncio.sleep(1)
        assert not app.ended.is_set()
        assert len(await one.response()) == 300 * len(PIECE)


async def test_a_slow_reader_gets_the_whole_response(monkeypatch: pytest.MonkeyPatch, tls: Tls) -> None:
    monkeypatch.setattr(connection_timeouts, "UNREAD_SECONDS", 2.0)
    app = App(pieces=60)
    async with connected(app, tls=tls) as one:
        one.writer.write(ASKED)
        await one.reader.readuntil(b"\r\n\r\n")
        seen = 0
        while not app.ended.is_set():
            seen += len(await one.reader.read(262_144))
            await asyncio.sleep(0.2)  # at least 15 times: in total longer than the limit, each far below it
        while seen < 60 * len(PIECE):
            seen += len(await one.reader.read(262_144))


async def test_a_client_that_reads_after_it_has_sent_all_may_read_slowly(
    short_timeouts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        monkeypatch.setattr(connection_timeouts, "UNREAD_SECONDS", 60.0)  # from here on, slow reading is not under test
        one.writer.write(b"0\r\n\r\n")
        assert len(await one.response()) == 200 * len(PIECE)


class Early(App):
    """Responds before it has read the request, as a refusal does."""

    async def __call__(self, _: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": PIECE})


async def test_a_body_that_continues_after_its_response_closes_the_connection(
    short_timeouts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_timeouts, "REST_SECONDS", 0.3)
    monkeypatch.setattr(lingering_close, "MAX_LINGER_SECONDS", 0.3)
    async with connected(Early()) as one:
        one.writer.write(UPLOAD)
        assert await one.response() == PIECE
        await one.let_go()


async def test_a_connection_whose_body_ends_after_its_response_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_timeouts, "REST_SECONDS", 2.0)
    async with connected(Early()) as one:
        one.writer.write(UPLOAD)
        assert await one.response() == PIECE
        one.writer.write(CHUNK + b"0\r\n\r\n")
        await asyncio.sleep(2.5)  # longer than the limit, which no longer applies
        one.writer.write(ASKED)
        assert await one.response() == PIECE


async def test_a_client_that_never_reads_an_abandoned_response_is_disconnected(
    short_timeouts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering_close, "LINGER_SECONDS", 0.3)

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
"""Too little to pause the server's writes."""


class Short(App):
    """Sends a small response, then continues as the query specifies."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"50000")]})
        await send({"type": "http.response.body", "body": SHORT[1:], "more_body": True})
        if scope["query_string"] == b"fail":
            raise RuntimeError
        await send({"type": "http.response.body", "body": SHORT[:1]})


@pytest.mark.parametrize(
    "sent",
    [
        ASKED,
        HEAD + b"Connection: close\r\n\r\n",
        ASKED.replace(b"/", b"/?fail", 1),
        UPLOAD,
    ],
    ids=["keep-alive", "close", "aborted", "before the request has ended"],
)
async def test_the_last_bytes_of_a_response_must_be_read_in_time_too(
    short_timeouts: None, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connection_timeouts, "REST_SECONDS", 0.3)
    monkeypatch.setattr(lingering_close, "LINGER_SECONDS", 0.3)
    async with narrow(Short()) as (client, state):
        client.send(sent)

        async def begun() -> bool:
            return bool(state.connections)

        async def disconnected() -> bool:
            return not state.connections

        await until(begun, "a connection")
        await until(disconnected, "the connection closed", 20)


async def test_a_client_that_reads_each_response_late_but_in_time_gets_all(
    short_timeouts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each check a response is unread, but each time a newer one."""
    monkeypatch.setattr(connection_timeouts, "UNREAD_SECONDS", 2.0)
    monkeypatch.setattr(connection_timeouts, "HEAD_SECONDS", 20.0)
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
