"""The table of tests.support.http_cases, run against ingest and the publisher on the real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.http_cases import CASES, Case
from tests.support.raw_client import RawClient, Response, raw
from tests.support.serving import Site, fill, ingest, publisher

PROBE = b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n"


@pytest.fixture(scope="module")
async def sites(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Site]]:
    async with ingest(tmp_path_factory.mktemp("ingest")) as one, publisher() as other:
        yield {site.name: site for site in (one, other)}


@pytest.mark.parametrize(
    ("at", "case"),
    [pytest.param(at, case, id=f"{at}: {case.name}") for case in CASES for at in case.at.split()],
)
async def test_both_services_frame_requests_as_the_table_states(sites: dict[str, Site], at: str, case: Case) -> None:
    site = sites[at]
    before = len(site.producer.stored)
    *statuses, end = case.wanted.split()
    async with raw(site.port) as client:
        responses = await exchanged(client, site, case, len(statuses))
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


async def exchanged(client: RawClient, site: Site, case: Case, count: int) -> list[Response]:
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
                await asyncio.sleep(0.01)  # so that the next part is a separate segment
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
