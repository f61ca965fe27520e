"""Connection limits over real sockets: refusals before a request head is read; clients with a key are served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.runtime import connection_limits, http
from services.runtime.connection_limits import AUTHENTICATED, ConnectionLimiter
from tests.support.raw_client import RawClient, raw
from tests.support.serving import fill, ingest, listening

REQUEST = b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n"
WITH_KEY = b"GET /recognised HTTP/1.1\r\nHost: here\r\n\r\n"


async def authenticates(request: Request) -> Response:
    """Authenticates the connection, as an application that checks keys does."""
    request.scope["state"][AUTHENTICATED]()
    return Response()


async def ready() -> str | None:
    return None


async def served(port: int, stack: AsyncExitStack, *, authenticated: bool = False) -> RawClient:
    """A connection that stays open until the end of the test."""
    client = await stack.enter_async_context(raw(port))
    if authenticated:
        await client.send(WITH_KEY)
        response = await client.response()
        assert response is not None
        assert response.status == 200
    else:
        await asyncio.sleep(0.02)  # until the server has accepted it
    return client


async def refusal(port: int, stack: AsyncExitStack) -> tuple[int, str, str]:
    client = await stack.enter_async_context(raw(port))
    await client.send(REQUEST)
    response = await client.response()
    assert response is not None
    assert response.fields["connection"] == "close"
    return response.status, json.loads(response.body)["code"], response.fields["retry-after"]


REFUSED = (503, "too-many-connections", "5")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    app = http.application([Route("/recognised", authenticates)], ready, nullcontext)
    async with listening(app, ConnectionLimiter(8, per_address=3)) as port:
        yield port


async def test_unauthenticated_connections_of_one_address_are_limited_before_their_heads_are_read(port: int) -> None:
    async with AsyncExitStack() as stack:
        authenticated = await served(port, stack, authenticated=True)
        unknown = [await served(port, stack) for _ in range(3)]
        assert await refusal(port, stack) == REFUSED
        await authenticated.send(REQUEST)
        assert await authenticated.response() is not None, "an authenticated client is served"
        await unknown[0].send(REQUEST)
        assert await unknown[0].response() is not None, "a connection with a slot is served"
        assert await refusal(port, stack) == REFUSED, "a request without a key does not authenticate"
        await unknown[0].send(WITH_KEY)
        assert await unknown[0].response() is not None
        await served(port, stack)  # in the slot that authentication has freed


async def test_all_connections_together_are_limited(port: int) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(8):
            await served(port, stack, authenticated=True)
        assert await refusal(port, stack) == REFUSED
    async with AsyncExitStack() as stack:
        await asyncio.sleep(0.1)  # until the server has detected that the other connections are closed
        await served(port, stack, authenticated=True)


async def test_a_flood_is_closed_without_a_response(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "REFUSALS", 1)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await served(port, stack)
        refused = await stack.enter_async_context(raw(port))
        assert await refused.response() is not None
        ended = await stack.enter_async_context(raw(port))
        try:
            assert await ended.response() is None
        except ConnectionError:
            return


async def test_only_a_valid_key_authenticates_a_client(tmp_path: Path) -> None:
    async with ingest(tmp_path, ConnectionLimiter(8, per_address=1)) as site, AsyncExitStack() as stack:
        unknown = await stack.enter_async_context(raw(site.port))
        await unknown.send(fill(b"{LINE}Host: here\r\n{NOKEY}Authorization: Bearer x\r\n{CL}\r\n{BODY}", site.words))
        response = await unknown.response()
        assert response is not None
        assert response.status == 401
        assert await refusal(site.port, stack) == REFUSED
        await unknown.send(fill(b"{GOOD}", site.words))
        response = await unknown.response()
        assert response is not None
        assert response.status == 202
        await served(site.port, stack)
