"""services.ingest.places, and the door that gives them: how many requests are open at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
import zstandard
from prometheus_client import REGISTRY

from services.ingest import routes
from services.ingest.framing import BATCH, LINES, SINGLE
from services.ingest.places import AGENCY_PLACES, ALL_PLACES, ZSTD_PLACES, NoPlaceError, Places
from services.ingest.routes import Door
from tests.support.agencies import LAS_VEGAS, NEW_YORK, key_of
from tests.support.problems import assert_problem
from tests.support.processes import post
from tests.support.waiting import until
from tests.unit.sample_door import Exchange, Producer
from tests.unit.sample_events import encoded, event

GOOD = encoded(event())


def test_an_agency_has_so_many_places_and_all_have_so_many() -> None:
    places = Places(agency=2, everyone=3)
    with places.taken("a"), places.taken("a"):
        with pytest.raises(NoPlaceError) as caught, places.taken("a"):
            pass
        assert not caught.value.everyone
        with pytest.raises(NoPlaceError) as caught, places.taken("b", 2):
            pass
        assert caught.value.everyone
        with places.taken("b"):
            assert places.used == 3
    assert places.used == 0


def test_no_agency_has_all_places_and_each_has_enough_for_two_hundred_clients() -> None:
    assert 200 < AGENCY_PLACES < ALL_PLACES


def counted(outcome: str) -> float:
    labels = {"kind": "unknown", "outcome": outcome, "code": "too-many-requests"}
    return REGISTRY.get_sample_value("ddor_ingest_events_total", labels) or 0.0


def exchange(media_type: str = LINES, agency: str = LAS_VEGAS, encoding: str = "") -> Exchange:
    one = Exchange(media_type)
    one.scope["headers"] = [
        (b"content-type", media_type.encode()),
        (b"authorization", f"Bearer {key_of(agency)}".encode()),
        (b"content-encoding", encoding.encode()),
    ]
    return one


async def opened(door: Door, one: Exchange) -> asyncio.Task[None]:
    """A request of which the body does not come yet."""
    used = door._places.used
    answering = one.start(door)

    async def taken() -> bool:
        return door._places.used > used

    await until(taken, "its place taken")
    return answering


class Unread:
    """A body that must not be asked for."""

    def __aiter__(self) -> Any:
        raise AssertionError("the body was read")


@pytest.mark.parametrize("media_type", [SINGLE, BATCH, LINES])
async def test_one_request_too_many_of_an_agency_is_429_before_its_body_is_read(
    client: httpx.AsyncClient, door: Door, media_type: str
) -> None:
    door._places = Places(agency=2, everyone=10)
    before = counted("refused")
    open_ones = [exchange(media_type), exchange(LINES)]
    answering = [await opened(door, one) for one in open_ones]
    answer = await post(client, Unread(), media_type)
    assert_problem(answer, 429, "too-many-requests")
    assert int(answer.headers["retry-after"]) > 0
    assert counted("refused") == before + 1
    open_ones[0].put(GOOD)
    open_ones[0].end()
    await asyncio.wait_for(answering[0], 60)
    assert (await post(client, GOOD)).status_code == 202
    open_ones[1].end()
    await asyncio.wait_for(answering[1], 60)
    assert door._places.used == 0


async def test_one_request_too_many_of_all_is_503(client: httpx.AsyncClient, door: Door) -> None:
    door._places = Places(agency=2, everyone=3)
    before = counted("unavailable")
    open_ones = [exchange(agency=agency) for agency in (NEW_YORK, NEW_YORK, LAS_VEGAS)]
    answering = [await opened(door, one) for one in open_ones]
    answer = await post(client, Unread())
    assert_problem(answer, 503, "too-many-requests")
    assert int(answer.headers["retry-after"]) > 0
    assert counted("unavailable") == before + 1
    for one in open_ones:
        one.end()
    await asyncio.wait_for(asyncio.gather(*answering), 60)
    assert (await post(client, GOOD)).status_code == 202


async def test_a_stream_in_zstd_counts_for_its_window(client: httpx.AsyncClient, door: Door) -> None:
    pack = zstandard.ZstdCompressor().compress
    for media_type, encoding, places in ((LINES, "zstd", ZSTD_PLACES), (LINES, "gzip", 1), (SINGLE, "zstd", 1)):
        one = exchange(media_type, encoding=encoding)
        answering = await opened(door, one)
        assert door._places.used == places
        one.incoming.put_nowait({"type": "http.disconnect"})
        await asyncio.wait_for(answering, 60)
    door._places = Places(agency=ZSTD_PLACES - 1, everyone=100)
    assert_problem(await post(client, Unread(), LINES, **{"Content-Encoding": "zstd"}), 429, "too-many-requests")
    assert (await post(client, pack(GOOD), **{"Content-Encoding": "zstd"})).status_code == 202


def cut_off(one: Exchange) -> None:
    one.incoming.put_nowait({"type": "http.disconnect"})


def broken(one: Exchange) -> None:
    one.put(b"not json\n")
    one.end()


def too_large(one: Exchange) -> None:
    one.put(b" " * 1_100_000)
    one.end()


ENDS: dict[str, Callable[[Exchange], None]] = {
    "cut off": cut_off, "broken": broken, "too large": too_large, "empty": Exchange.end, "too slow": lambda _: None,
}  # fmt: skip


@pytest.mark.parametrize("media_type", [SINGLE, BATCH, LINES])
@pytest.mark.parametrize("end", ENDS)
async def test_a_place_is_given_back_however_a_request_ends(
    door: Door, media_type: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "BODY_SECONDS", 0.5)
    one = exchange(media_type)
    answering = await opened(door, one)
    ENDS[end](one)
    if (end, media_type) == ("too slow", LINES):
        answering.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(answering, 60)
    assert door._places.used == 0


@pytest.mark.parametrize("media_type", [SINGLE, BATCH, LINES])
async def test_a_place_is_given_back_by_a_request_that_is_cancelled_or_fails(
    door: Door, producer: Producer, media_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering = await opened(door, exchange(media_type))
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
    assert door._places.used == 0

    async def fails(_: object) -> Any:
        raise RuntimeError

    monkeypatch.setattr(producer, "store", fails)
    one = exchange(media_type)
    answering = await opened(door, one)
    one.put(b"[" + GOOD + b"]" if media_type == BATCH else GOOD)
    one.end()
    with pytest.raises(RuntimeError):
        await asyncio.wait_for(answering, 60)
    assert door._places.used == 0


async def test_two_hundred_clients_of_one_agency_are_served_at_once(door: Door, producer: Producer) -> None:
    open_ones = [exchange((SINGLE, LINES)[number % 2]) for number in range(200)]
    answering = [await opened(door, one) for one in open_ones]
    for one in open_ones:
        one.put(GOOD)
        one.end()
    await asyncio.wait_for(asyncio.gather(*answering), 60)
    assert len(producer.stored) == 200
    assert door._places.used == 0
