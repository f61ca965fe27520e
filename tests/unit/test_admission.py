"""services.ingest.admission: a stream may last for days, and who may send, how fast, is asked again all along it."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from pathlib import Path

import pytest

from services.ingest import admission
from services.ingest.framing import LINES
from services.ingest.routes import Door
from tests.support.agencies import LAS_VEGAS, key_of
from tests.support.waiting import until
from tests.unit import sample_door
from tests.unit.sample_door import NOW, Exchange, Producer, Time
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
def limited(tmp_path: Path, producer: Producer, time: Time, file: Path) -> Door:
    """Ten events a second for the agency of the tests, a hundred at once."""
    made = sample_door.door(tmp_path, producer, time)
    edit(file, NAMED, f"{NAMED}events_per_second = 10\n")
    return made


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def revoke(file: Path) -> None:
    mine, other = (hashlib.sha256(key.encode()).hexdigest() for key in (key_of(LAS_VEGAS), "another"))
    edit(file, mine, other)


async def test_each_window_is_judged_by_the_clock_of_its_moment(limited: Door, time: Time) -> None:
    """A stream may last for days; what is issued meanwhile is not in the future."""
    exchange = Exchange(LINES)
    answering = exchange.start(limited)
    later = NOW + timedelta(days=2)
    value = encoded(event(issued_at=later.isoformat()))
    exchange.put(value + b"\n")
    await exchange.answered(1)
    time.now = later
    exchange.put(value + b"\n")
    await exchange.answered(2)
    assert [one.get("code", "accepted") for one in exchange.lines] == ["in-the-future", "accepted"]
    exchange.end()
    await asyncio.wait_for(answering, 20)


async def test_a_stream_is_slowed_to_the_rate_of_its_agency(limited: Door, producer: Producer, time: Time) -> None:
    exchange = Exchange(LINES)
    answering = exchange.start(limited)
    exchange.put((GOOD + b"\n") * 300)
    exchange.end()
    await exchange.answered(100)
    for seconds in (1, 7):
        time.now += timedelta(seconds=seconds)
        await exchange.answered(len(producer.stored) + 10 * seconds)
    assert len(producer.stored) == 180
    assert not answering.done()
    while not answering.done():
        time.now += timedelta(seconds=60)
        await asyncio.sleep(0.01)
    assert exchange.lines[-1]["summary"]["accepted"] == 300


async def test_two_streams_of_an_agency_share_its_rate(limited: Door, producer: Producer, time: Time) -> None:
    exchanges = [Exchange(LINES), Exchange(LINES)]
    answering = [one.start(limited) for one in exchanges]
    for one in exchanges:
        one.put((GOOD + b"\n") * 500)

    async def hundred() -> bool:
        return len(producer.stored) >= 100

    await until(hundred, "what may be sent at once", 20)
    time.now += timedelta(seconds=3)

    async def more() -> bool:
        return len(producer.stored) >= 130

    await until(more, "what three seconds add", 20)
    assert len(producer.stored) == 130
    limited.stopping.set()
    await asyncio.wait_for(asyncio.gather(*answering), 20)


async def test_a_stream_that_is_held_back_ends_when_the_process_is_to_stop(limited: Door) -> None:
    exchange = Exchange(LINES)
    answering = exchange.start(limited)
    exchange.put((GOOD + b"\n") * 300)
    await exchange.answered(100)
    limited.stopping.set()
    await asyncio.wait_for(answering, 20)
    assert [one["status"] for one in exchange.lines] == ["accepted"] * 100
    assert exchange.sent[-1]["more_body"] is False


async def test_a_stream_that_is_held_back_for_too_long_is_told(limited: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "RATE_SECONDS", 0.1)
    exchange = Exchange(LINES)
    exchange.put((GOOD + b"\n") * 300)
    await asyncio.wait_for(exchange.start(limited), 20)
    assert len(exchange.lines) == 101
    assert exchange.lines[-1]["error"]["code"] == "too-many-events"


async def test_a_key_that_is_taken_out_ends_its_stream_behind_what_was_stored(
    limited: Door, producer: Producer, time: Time, file: Path
) -> None:
    exchange = Exchange(LINES)
    answering = exchange.start(limited)
    exchange.put(GOOD + b"\n")
    await exchange.answered(1)
    revoke(file)
    time.now += timedelta(seconds=2)
    exchange.put(GOOD + b"\n")
    await asyncio.wait_for(answering, 20)
    first, last = exchange.lines
    assert first["status"] == "accepted"
    assert last["error"]["code"] == "unknown-key"
    assert len(producer.stored) == 1


async def test_a_key_that_expires_ends_its_stream(limited: Door, producer: Producer, time: Time, file: Path) -> None:
    until_then = NOW + timedelta(minutes=1)
    edit(file, NAMED, f"{NAMED}valid_to = {until_then.isoformat()}\n")
    exchange = Exchange(LINES)
    answering = exchange.start(limited)
    for seconds in (0, 59):
        time.now = NOW + timedelta(seconds=seconds)
        exchange.put(GOOD + b"\n")
        await exchange.answered(len(producer.stored) + 1)
    time.now = until_then
    exchange.put(GOOD + b"\n")
    await asyncio.wait_for(answering, 20)
    assert [one.get("status") for one in exchange.lines] == ["accepted", "accepted", None]
    assert exchange.lines[-1]["error"]["code"] == "unknown-key"


async def test_a_key_that_is_taken_out_ends_a_stream_that_is_held_back(
    limited: Door, producer: Producer, time: Time, file: Path
) -> None:
    exchange = Exchange(LINES)
    answering = exchange.start(limited)
    exchange.put((GOOD + b"\n") * 300)
    await exchange.answered(100)
    revoke(file)
    time.now += timedelta(seconds=2)
    await asyncio.wait_for(answering, 20)
    assert len(producer.stored) == len(exchange.lines) - 1 == 100
    assert exchange.lines[-1]["error"]["code"] == "unknown-key"


async def test_a_scope_that_changes_holds_for_the_next_window(
    limited: Door, producer: Producer, time: Time, file: Path
) -> None:
    exchange = Exchange(LINES)
    answering = exchange.start(limited)
    exchange.put(GOOD + b"\n")
    await exchange.answered(1)
    edit(file, '"32*"', '"33*"')
    time.now += timedelta(seconds=2)
    exchange.put(GOOD + b"\n")
    await exchange.answered(2)
    assert exchange.lines[-1]["code"] == "jurisdiction-not-allowed"
    exchange.end()
    await asyncio.wait_for(answering, 20)
    assert len(producer.stored) == 1
