"""The HTTP server with TLS over real sockets: versions, limits before the handshake, closing, and new certificates."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
import structlog.testing
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.runtime import connection_limits, http
from services.runtime.connection_limits import AUTHENTICATED, ConnectionLimiter
from services.runtime.tls import connection, watch
from services.runtime.tls.reloaded import Reloaded
from tests.support import certificates
from tests.support.certificates import Authority, replace
from tests.support.raw_client import RawClient, raw
from tests.support.serving import listening
from tests.support.waiting import until

REQUEST = b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n"
LARGE = b"y" * 400_000


async def ready() -> str | None:
    return None


async def authenticates(request: Request) -> Response:
    request.scope["state"][AUTHENTICATED]()
    return Response(request.url.scheme)


async def refuses(_: Request) -> Response:
    """Responds before the body is read."""
    return Response(LARGE, 413, {"Connection": "close"})


def app() -> Starlette:
    routes = [Route("/recognised", authenticates), Route("/refused", refuses, methods=["POST"])]
    return http.application(routes, ready, nullcontext)


class Served(NamedTuple):
    """A port with TLS, and what its clients need."""

    port: int
    client: ssl.SSLContext
    contexts: Reloaded[ssl.SSLContext]
    directory: Path


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr(watch, "EVERY_SECONDS", 0.05)
    server, client = certificates.https(tmp_path)
    async with listening(app(), ConnectionLimiter(8, per_address=3), server) as port:
        yield Served(port, client, server, tmp_path)


async def status(client: RawClient, request: bytes = REQUEST) -> int:
    await client.send(request)
    response = await client.response()
    assert response is not None
    return response.status


async def test_requests_of_one_connection_are_served_and_the_application_sees_https(served: Served) -> None:
    async with raw(served.port, served.client) as client:
        for _ in range(3):
            await client.send(b"GET /recognised HTTP/1.1\r\nHost: here\r\n\r\n")
            response = await client.response()
            assert response is not None
            assert response.body == b"https"


@pytest.mark.parametrize(
    ("version", "accepted"),
    [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)],
)
async def test_the_lowest_version_is_tls_1_2(served: Served, version: str, accepted: bool) -> None:
    served.client.set_ciphers("DEFAULT:@SECLEVEL=0")  # else this client would not offer 1.1
    with warnings.catch_warnings(action="ignore"):  # Python warns of 1.1
        served.client.minimum_version = served.client.maximum_version = ssl.TLSVersion[version]
    if accepted:
        async with raw(served.port, served.client) as client:
            assert await status(client) == 200
        return
    with pytest.raises(ssl.SSLError, match="alert protocol version"):
        async with raw(served.port, served.client):
            pass


@pytest.mark.parametrize(
    "sent", [REQUEST, b"\x00", b"\x16\x03\x01", bytes(100_000)], ids=["HTTP", "0", "begun", "zeros"]
)
async def test_a_client_without_tls_is_closed_and_nothing_is_logged(
    served: Served, sent: bytes, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with raw(served.port) as client:
        await client.send(sent)
        client.writer.write_eof()
        with suppress(ConnectionError):
            assert b"HTTP" not in await asyncio.wait_for(client.reader.read(), 20)
    async with raw(served.port, served.client) as client:
        assert await status(client) == 200
    assert "Traceback" not in "".join(capfd.readouterr()) + caplog.text


async def test_unfinished_handshakes_count_as_connections_and_are_closed_in_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HANDSHAKE_SECONDS", 2.0)
    async with AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(raw(served.port)) for _ in range(3)]
        await silent[1].send(b"\x16\x03\x01\x02\x00")  # the beginning of a handshake
        await asyncio.sleep(0.1)  # until the server has accepted them
        monkeypatch.setattr(connection, "HANDSHAKE_SECONDS", 60.0)
        async with raw(served.port, served.client) as client:
            await client.send(REQUEST)
            response = await client.response()
            assert response is not None
            assert (response.status, json.loads(response.body)["code"]) == (503, "too-many-connections")
        for one in silent:
            assert await asyncio.wait_for(one.reader.read(), 20) == b"", "closed"
    async with AsyncExitStack() as stack:
        for _ in range(3):
            assert await status(await stack.enter_async_context(raw(served.port, served.client))) == 200


async def test_a_handshake_byte_by_byte_does_not_extend_its_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HANDSHAKE_SECONDS", 0.5)
    async with raw(served.port) as client:
        client.writer.write(b"\x16\x03\x01\x40\x00")

        async def dribble() -> None:
            while True:
                client.writer.write(b"\x00")
                await client.writer.drain()
                await asyncio.sleep(0.02)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(dribble(), 20)


async def test_a_flood_is_closed_before_its_handshakes(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "REFUSALS", 0)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(raw(served.port))
        with pytest.raises((ConnectionError, ssl.SSLError)):
            async with raw(served.port, served.client):
                pass


async def test_a_client_that_resets_during_the_handshake_frees_its_slot(served: Served) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", served.port)) as one:
            one.sendall(b"\x16\x03\x01")
            await asyncio.sleep(0.1)  # until the server has accepted it
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def is_served() -> bool:
        async with raw(served.port, served.client) as client:
            return await status(client) == 200

    await until(is_served, "the slots are free again")


async def test_a_client_that_is_still_sending_gets_the_whole_response(served: Served) -> None:
    async with raw(served.port, served.client) as client:
        await client.send(b"POST /refused HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(60):
            await client.send(b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n")
        response = await client.response()
        assert response is not None
        assert (response.status, response.body) == (413, LARGE)
        assert await client.response() is None, "the end of TLS, not a reset connection"


async def test_a_closed_connection_ends_with_the_end_of_tls(served: Served) -> None:
    """Otherwise a client cannot distinguish it from a connection that an attacker has cut."""

    def read_all() -> bytes:
        request = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        with (
            socket.create_connection(("127.0.0.1", served.port), 60) as plain,
            served.client.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as client,
        ):
            client.sendall(request)
            return b"".join(iter(lambda: client.recv(65_536), b""))

    assert (await asyncio.to_thread(read_all)).endswith(b"ok\n")


def ends_at(client: RawClient) -> datetime:
    """The end of the validity of the certificate that the server has shown."""
    shown = client.writer.get_extra_info("peercert")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC)


async def shown(served: Served) -> datetime:
    async with raw(served.port, served.client) as client:
        return ends_at(client)


async def test_new_connections_get_a_new_certificate_and_open_ones_continue(served: Served) -> None:
    authority = Authority("the next one")
    served.client.load_verify_locations(cadata=authority.pem.decode())
    async with raw(served.port, served.client) as client:
        before = ends_at(client)
        issued = authority.issue(days=25)
        issued.write(served.directory)

        async def is_new() -> bool:
            return await shown(served) == issued.ends

        await until(is_new, "new connections get the new certificate")
        assert before != issued.ends
        assert await status(client) == 200, "the open connection continues"


async def test_a_broken_pair_is_logged_once_and_the_old_one_stays_in_use(served: Served) -> None:
    other = Authority().issue()
    before = await shown(served)
    with structlog.testing.capture_logs() as logged:
        replace(served.directory / "tls.crt", other.certificate)  # the key will follow

        async def is_refused() -> bool:
            return any(line["event"] == "certificate-refused" for line in logged)

        await until(is_refused, "the pair is refused")
        await asyncio.sleep(5 * watch.EVERY_SECONDS)  # several more looks
        assert await shown(served) == before
    (line,) = [line for line in logged if line["event"].startswith("certificate-")]
    key = served.directory / "tls.key"
    certificate = served.directory / "tls.crt"
    assert line["reason"] == (
        f"DDOR_TLS_KEY_FILE: {key}: is not the key of the first certificate in {certificate};"
        " the previous one stays in use"
    )
    assert "exc_info" not in line


async def test_a_secret_of_kubernetes_is_replaced_by_a_symbolic_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mounted Secret: tls.crt -> ..data/tls.crt, and ..data -> a directory for each version, replaced at once."""
    monkeypatch.setattr(watch, "EVERY_SECONDS", 0.05)
    authority = Authority()
    certificate, key = Path("tls.crt"), Path("tls.key")
    issued = [authority.issue(days=days) for days in (20, 25)]
    for number, one in enumerate(issued):
        (tmp_path / f"..{number}").mkdir()
        one.write(tmp_path / f"..{number}")
    (tmp_path / "..data").symlink_to("..0")
    for file in (certificate, key):
        (tmp_path / file).symlink_to(Path("..data", file))
    contexts = certificates.contexts(tmp_path / certificate, tmp_path / key)
    client = ssl.create_default_context(cadata=authority.pem.decode())
    async with listening(app(), tls=contexts) as port:
        served = Served(port, client, contexts, tmp_path)
        assert await shown(served) == issued[0].ends
        (tmp_path / "..new").symlink_to("..1")
        (tmp_path / "..new").rename(tmp_path / "..data")

        async def is_new() -> bool:
            return await shown(served) == issued[1].ends

        await until(is_new, "new connections get the certificate of the new version")
