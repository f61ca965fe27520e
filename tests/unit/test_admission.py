"""services.ingest.admission: keys, scopes, rates and the time are checked again for each window of a stream."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from pathlib import Path

import pytest

from services.ingest import admission
from services.ingest.body.media_types import LINES
from services.ingest.endpoint import EventsEndpoint
from tests.support.agencies import LAS_VEGAS, key_of
from tests.support.waiting import until
from tests.unit import sample_endpoint
from tests.unit.sample_endpoint import NOW, Exchange, Producer, Time
from tests.unit.sample_events import encoded, event

GOOD = encoded(event())
NAMED = f'name = "{LAS_VEGAS}"\n'


@pytest.fixture
def producer() -> Producer:
    return Producer()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "agencies.toml"


@pytest.fixture
def limited(tmp_path: Path, producer: Producer, time: Time, file: Path) -> EventsEndpoint:
    """An endpoint that allows the agency ten events a second, and a hundred at once."""
    made = sample_endpoint.endpoint(tmp_path, producer, time)
    edit(file, NAMED, f"{NAMED}events_per_second = 10\n")
    return made


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def revoke(file: Path) -> None:
    mine, other = (hashlib.sha256(key.encode()).hexdigest() for key in (key_of(LAS_VEGAS), "another"))
    edit(file, mine, other)


async def test_each_window_uses_the_current_time(limited: EventsEndpoint, time: Time) -> None:
    """A stream may last for days. Events issued during it are not in the future."""
    exchange = Exchange(LINES)
    responding = exchange.start(limited)
    later = NOW + timedelta(days=2)
    value = encoded(event(issued_at=later.isoformat()))
    exchange.put(value + b"\n")
    await exchange.wait_for_lines(1)
    time.now = later
    exchange.put(value + b"\n")
    await exchange.wait_for_lines(2)
    assert [one.get("code", "accepted") for one in exchange.lines] == ["in-the-future", "accepted"]
    exchange.end()
    await asyncio.wait_for(responding, 20)


async def test_a_stream_is_throttled_to_the_rate_of_its_agency(
    limited: EventsEndpoint, producer: Producer, time: Time
) -> None:
    exchange = Exchange(LINES)
    responding = exchange.start(limited)
    exchange.put((GOOD + b"\n") * 300)
    exchange.end()
    await exchange.wait_for_lines(100)
    for seconds in (1, 7):
        time.now += timedelta(seconds=seconds)
        await exchange.wait_for_lines(len(producer.stored) + 10 * seconds)
    assert len(producer.stored) == 180
    assert not responding.done()
    while not responding.done():
        time.now += timedelta(seconds=60)
        await asyncio.sleep(0.01)
    assert exchange.lines[-1]["summary"]["accepted"] == 300


async def test_two_streams_of_an_agency_share_its_rate(limited: EventsEndpoint, producer: Producer, time: Time) -> None:
    exchanges = [Exchange(LINES), Exchange(LINES)]
    responding = [one.start(limited) for one in exchanges]
    for one in exchanges:
        one.put((GOOD + b"\n") * 500)

    async def hundred() -> bool:
        return len(producer.stored) >= 100

    await until(hundred, "the events of the burst", 20)
    time.now += timedelta(seconds=3)

    async def more() -> bool:
        return len(producer.stored) >= 130

    await until(more, "the events of three seconds", 20)
    assert len(producer.stored) == 130
    limited.stopping.set()
    await asyncio.wait_for(asyncio.gather(*responding), 20)


async def test_a_throttled_stream_ends_when_the_process_stops(limited: EventsEndpoint) -> None:
    exchange = Exchange(LINES)
    responding = exchange.start(limited)
    exchange.put((GOOD + b"\n") * 300)
    await exchange.wait_for_lines(100)
    limited.stopping.set()
    await asyncio.wait_for(responding, 20)
    assert [one["status"] for one in exchange.lines] == ["accepted"] * 100
    assert exchange.sent[-1]["more_body"] is False


async def test_a_stream_that_is_throttled_for_too_long_ends_with_an_error(
    limited: EventsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "RATE_SECONDS", 0.1)
    exchange = Exchange(LINES)
    exchange.put((GOOD + b"\n") * 300)
    await asyncio.wait_for(exchange.start(limited), 20)
    assert len(exchange.lines) == 101
    assert exchange.lines[-1]["error"]["code"] == "too-many-events"


async def test_revoking_a_key_ends_its_stream_after_the_stored_events(
    limited: EventsEndpoint, producer: Producer, time: Time, file: Path
) -> None:
    exchange = Exchange(LINES)
    responding = exchange.start(limited)
    exchange.put(GOOD + b"\n")
    await exchange.wait_for_lines(1)
    revoke(file)
    time.now += timedelta(seconds=2)
    exchange.put(GOOD + b"\n")
    await asyncio.wait_for(responding, 20)
    first, last = exchange.lines
    assert first["status"] == "accepted"
    assert last["error"]["code"] == "unknown-key"
    assert len(producer.stored) == 1


async def test_an_expired_key_ends_its_stream(
    limited: EventsEndpoint, producer: Producer, time: Time, file: Path
) -> None:
    until_then = NOW + timedelta(minutes=1)
    edit(file, NAMED, f"{NAMED}valid_to = {until_then.isoformat()}\n")
    exchange = Exchange(LINES)
    responding = exchange.start(limited)
    for seconds in (0, 59):
        time.now = NOW + timedelta(seconds=seconds)
        exchange.put(GOOD + b"\n")
        await exchange.wait_for_lines(len(producer.stored) + 1)
    time.now = until_then
    exchange.put(GOOD + b"\n")
    await asyncio.wait_for(responding, 20)
    assert [one.get("status") for one in exchange.lines] == ["accepted", "accepted", None]
    assert exchange.lines[-1]["error"]["code"] == "unknown-key"


async def test_revoking_a_key_ends_a_throttled_stream(
    limited: EventsEndpoint, producer: Producer, time: Time, file: Path
) -> None:
    exchange = Exchange(LINES)
    responding = exchange.start(limited)
    exchange.put((GOOD + b"\n") * 300)
    await exchange.wait_for_lines(100)
    revoke(file)
    time.now += timedelta(seconds=2)
    await asyncio.wait_for(responding, 20)
    assert len(producer.stored) == len(exchange.lines) - 1 == 100
    assert exchange.lines[-1]["error"]["code"] == "unknown-key"


async def test_a_changed_scope_applies_to_the_next_window(
    limited: EventsEndpoint, producer: Producer, time: Time, file: Path
) -> None:
    exchange = Exchange(LINES)
    responding = exchange.start(limited)
    exchange.put(GOOD + b"\n")
    await exchange.wait_for_lines(1)
    edit(file, '"32*"', '"33*"')
    time.now += timedelta(seconds=2)
    exchange.put(GOOD + b"\n")
    await exchange.wait_for_lines(2)
    assert exchange.lines[-1]["code"] == "jurisdiction-not-allowed"
    exchange.end()
    await asyncio.wait_for(responding, 20)
    assert len(producer.stored) == 1
