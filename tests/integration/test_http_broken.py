"""Interrupted requests: nothing is stored without a response, unless the connection is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.runtime import h11_connection
from tests.support.raw_client import RawClient, raw
from tests.support.raw_http import App, connected
from tests.support.serving import Site, fill, ingest
from tests.support.waiting import until

STREAM = b"{LINE}{LINES}Transfer-Encoding: chunked\r\n\r\n"
WINDOW = 250


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with ingest(tmp_path_factory.mktemp("ingest")) as one:
        yield one


async def half_a_stream(client: RawClient, site: Site) -> None:
    """Send several windows of lines. The last one is stored when its receipts arrive."""
    await client.send(fill(STREAM + b"{ONELINE}" * 4 * WINDOW, site.words))


def receipts(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines()]


@pytest.mark.parametrize("broken", ["chunk", "end"])
async def test_an_interrupted_stream_has_a_receipt_for_each_stored_event(site: Site, broken: str) -> None:
    before = len(site.producer.stored)
    async with raw(site.port) as client:
        await half_a_stream(client, site)
        responding = asyncio.create_task(client.response())

        async def stored() -> bool:
            return len(site.producer.stored) > before

        await until(stored, "a window is stored", 20)
        if broken == "chunk":
            await client.send(b"no size\r\n")
        else:
            client.writer.write_eof()
        response = await responding
        assert response is not None
        assert response.status == 207
        got = receipts(response.body)
        assert {one.get("status") for one in got} == {"accepted"}, "no summary: the stream was interrupted"
        assert len(got) == len(site.producer.stored) - before > 0
        assert await client.response() is None


async def test_a_disconnected_client_releases_its_slot(site: Site) -> None:
    async with raw(site.port) as client:
        await half_a_stream(client, site)
        await client.reader.readuntil(b"\r\n\r\n")

    async def gone() -> bool:
        return site.limiter.used == 0

    await until(gone, "the slot released", 20)


async def test_a_body_of_tiny_chunks_does_not_block_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h11_connection, "EVENTS_PER_TURN", 8)
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    app = App()
    async with connected(app) as one:
        ticking = asyncio.create_task(tick())
        one.writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 8_000)
        one.writer.write(b"0\r\n\r\n")
        await one.response()
        ticking.cancel()
    assert turns > 8_000 / 8, "other tasks run between two parts of the body"
