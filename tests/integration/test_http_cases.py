"""The table of tests.support.http_cases, run against ingest and the publisher on the real server, also over TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import NamedTuple

import pytest

from tests.support import certificates
from tests.support.http_cases import CASES, Case
from tests.support.raw_client import RawClient, Response, raw
from tests.support.serving import Site, fill, ingest, publisher
from tests.support.tls_tunnel import Tunnel, tunnel

PROBE = b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n"
TCP, TLS, NOTIFIED = "TCP", "TLS", "TLS with close_notify"
"""How the client connects. With NOTIFIED, it closes its sending side with TLS's own end."""


class Way(NamedTuple):
    """A way to a service. A tunnel delays segments, so that there is a longer pause between them."""

    site: Site
    tunnel: Tunnel | None = None
    pause: float = 0.01


@pytest.fixture(scope="module")
async def ways(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[tuple[str, str], Way]]:
    directory = tmp_path_factory.mktemp("https")
    server, client = certificates.https(directory)
    async with AsyncExitStack() as stack:
        found = {}
        for tls in (None, server):
            state = tmp_path_factory.mktemp("ingest")
            for site in [await stack.enter_async_context(one) for one in (ingest(state, tls=tls), publisher(tls))]:
                if tls is None:
                    found[site.name, TCP] = Way(site)
                    continue
                for how in (TLS, NOTIFIED):
                    opened = tunnel(site.port, client, notify=how == NOTIFIED)
                    found[site.name, how] = Way(site, await stack.enter_async_context(opened), 0.1)
        yield found


def rows() -> Iterator[object]:
    """Each case over TCP and TLS. NOTIFIED differs only if the client closes its sending side."""
    for case in CASES:
        for at in case.at.split():
            for how in (TCP, TLS, NOTIFIED) if b"end" in case.sent else (TCP, TLS):
                yield pytest.param(at, how, case, id=f"{at}: {case.name}" + ("" if how == TCP else f", {how}"))


@pytest.mark.parametrize(("at", "how", "case"), list(rows()))
async def test_both_services_frame_requests_as_the_table_states(
    ways: dict[tuple[str, str], Way], at: str, how: str, case: Case
) -> None:
    site, through, pause = ways[at, how]
    before = len(site.producer.stored)
    *statuses, end = case.wanted.split()
    async with raw(through.port if through else site.port) as client:
        if through is not None:
            await through.opened.get()
        responses = await exchanged(client, site, case, len(statuses), pause)
        expected = [wanted(status, site, responses) for status in statuses]
        assert [checked_status(response) for response in responses] == expected, responses
        if end == "open":
            await client.send(PROBE)
            probed = await client.response()
            assert probed is not None, "the connection is closed"
            assert (probed.status, probed.body) == (200, b"ok\n")
        else:
            assert await client.response() is None
            assert not responses or b"end" in case.sent or responses[-1].fields["connection"] == "close"
    if at == "ingest":
        stored = statuses.count("OK") if case.stored is None else case.stored
        assert len(site.producer.stored) - before == stored


async def exchanged(client: RawClient, site: Site, case: Case, count: int, pause: float) -> list[Response]:
    """Send the parts of a case, and read this many responses."""
    pieces = (case.sent,) if isinstance(case.sent, bytes) else case.sent
    version = "1.0" if b"HTTP/1.0\r\n" in b"".join(pieces) else "1.1"
    responses: list[Response] = []

    async def take() -> None:
        response = await client.response(of_head=pieces[0].startswith(b"HEAD"), version=version)
        assert response is not None, f"closed after {responses}"
        responses.append(response)

    for piece in pieces:
        if piece == b"wait":
            await take()
        elif piece == b"end":
            client.writer.write_eof()
        else:
            await client.send(fill(piece, site.words))
            if len(pieces) > 1:
                await asyncio.sleep(pause)  # so that the next part is a separate segment
    while len(responses) < count:
        await take()
    return responses


def checked_status(response: Response) -> int:
    """The status. Refusals are problem documents, and there are no redirects."""
    assert "location" not in response.fields
    if response.status >= 400 and response.body:
        assert response.fields["content-type"] == "application/problem+json"
    return response.status


def wanted(status: str, site: Site, responses: list[Response]) -> int:
    """The status for a word of the table. If the word allows several, the actual one."""
    if status in ("OK", "HEAD"):
        return site.good
    several = [int(one) for one in status.split("|")]
    given = {response.status for response in responses}
    return next((one for one in several if one in given), several[0])


def test_the_table_names_each_case_once_and_its_source() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60
    assert all(case.source.startswith(("RFC ", "CloudEvents ")) for case in CASES)
