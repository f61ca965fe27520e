"""Keys and scopes change by editing the agencies file, while ingest runs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from deploy.local.parts import KafkaPart
from deploy.local.service import Service
from tests.support import events, processes
from tests.support.processes import post
from tests.support.streams import Stream
from tests.support.waiting import until

VEGAS = 'kinds = ["issued"]\njurisdictions = ["32*"]\n'


def table(name: str, *keys: str, more: str = VEGAS) -> str:
    digests = [hashlib.sha256(key.encode()).hexdigest() for key in keys]
    return f'[[agency]]\nname = "{name}"\nkey_sha256 = {digests}\n{more}'


def write(path: Path, text: str) -> None:
    """Replace the file, as an operator does."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "agencies.toml"
    write(path, table("old", "first"))
    return path


@pytest.fixture
def ingest(kafka: KafkaPart, file: Path, tmp_path: Path) -> Iterator[Service]:
    with processes.started(processes.ingest(kafka.bootstrap, file, tmp_path / "ingest")) as one:
        yield one


async def status(ingest: Service, key: str, agency: str = "old") -> int:
    """The status of a request of this agency with this key."""
    value = events.encoded(events.envelope("issued", events.issued(1), agency=agency))
    async with httpx.AsyncClient(base_url=ingest.url, timeout=30, trust_env=False) as http:
        return (await post(http, value, Authorization=f"Bearer {key}")).status_code


async def becomes(ingest: Service, wanted: dict[str, int], agency: str = "old") -> None:
    async def reached() -> bool:
        return {key: await status(ingest, key, agency) for key in wanted} == wanted

    await until(reached, f"status {wanted}")


async def test_a_key_is_added_and_the_old_one_is_revoked_without_a_restart(ingest: Service, file: Path) -> None:
    await becomes(ingest, {"first": 202, "second": 401})
    write(file, table("old", "first", "second"))
    await becomes(ingest, {"first": 202, "second": 202})
    write(file, table("old", "second"))
    await becomes(ingest, {"first": 401, "second": 202})


async def test_a_key_expires_while_the_new_one_works(ingest: Service, file: Path) -> None:
    at = datetime.now(UTC) + timedelta(seconds=4)
    plain = table("old", "first", "second")
    digest = hashlib.sha256(b"first").hexdigest()
    write(file, plain.replace(f"'{digest}'", f"{{sha256 = '{digest}', valid_to = {at.isoformat()}}}"))
    await becomes(ingest, {"first": 202, "second": 202})
    seen = set()
    while datetime.now(UTC) < at + timedelta(seconds=1):
        before = datetime.now(UTC)
        got = await status(ingest, "first")
        if before >= at or datetime.now(UTC) < at:
            assert got == (401 if before >= at else 202)
        seen.add(got)
    assert seen == {202, 401}
    assert await status(ingest, "second") == 202


async def test_an_invalid_edit_keeps_the_last_valid_file_and_is_reported(ingest: Service, file: Path) -> None:
    write(file, table("old", "first", "second") + table("new", "third"))

    async def reported() -> bool:
        async with httpx.AsyncClient(base_url=ingest.url, timeout=30, trust_env=False) as http:
            response = await http.get("/readyz")
        return response.status_code == 503 and "overlap" in response.text

    await until(reported, "not ready, with the reason")
    assert {key: await status(ingest, key) for key in ("first", "second", "third")} == {
        "first": 202,
        "second": 401,
        "third": 401,
    }
    write(file, table("old", "second"))
    await becomes(ingest, {"first": 401, "second": 202})


async def test_a_scope_is_handed_over_at_an_instant(ingest: Service, file: Path) -> None:
    """Exactly one of the two agencies has the scope at any time."""
    at = datetime.now(UTC) + timedelta(seconds=4)
    until_then, from_then = f"valid_to = {at.isoformat()}\n", f"valid_from = {at.isoformat()}\n"
    write(file, table("old", "first", more=VEGAS + until_then) + table("new", "third", more=VEGAS + from_then))
    await becomes(ingest, {"first": 202, "third": 401})
    seen = set()
    while datetime.now(UTC) < at + timedelta(seconds=1):
        before = datetime.now(UTC)
        statuses = list(await asyncio.gather(status(ingest, "first"), status(ingest, "third", "new")))
        if before >= at:
            assert statuses == [401, 202]
        elif datetime.now(UTC) < at:
            assert statuses == [202, 401]
        seen.add(tuple(statuses))
    assert {(202, 401), (401, 202)} <= seen


async def test_revoking_a_key_ends_its_running_stream(ingest: Service, file: Path) -> None:
    """Earlier lines have receipts, later lines are not read, and the last line has the error."""
    stream = await Stream.open(ingest, key="first")
    value = events.encoded(events.envelope("issued", events.issued(1), agency="old")) + b"\n"
    await stream.send(value)
    assert await stream.status() == 207
    lines = stream.lines()
    assert (await anext(lines))["status"] == "accepted"
    write(file, table("old", "second"))
    await becomes(ingest, {"first": 401})
    await stream.send(value)
    (last,) = [line async for line in lines]
    assert last["error"]["code"] == "unknown-key"
    assert stream.complete
    await stream.close()


async def test_a_stream_is_throttled_and_complete(ingest: Service, file: Path) -> None:
    write(file, table("old", "first", "second") + "events_per_second = 50\n")
    await becomes(ingest, {"first": 202, "second": 202})
    clock = asyncio.get_running_loop().time
    began = clock()
    stream = await Stream.open(ingest, key="first")
    value = events.encoded(events.envelope("issued", events.issued(1), agency="old")) + b"\n"
    sending = asyncio.create_task(stream.send(value * 750))
    assert await stream.status() == 207
    lines = stream.lines()
    for _ in range(750):
        assert (await anext(lines))["status"] == "accepted"
    assert clock() - began > 4, "a burst of ten seconds, then the configured rate"
    await sending
    await stream.end()
    assert (await anext(lines))["summary"]["accepted"] == 750
    await stream.close()
