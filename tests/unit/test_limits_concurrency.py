"""services.ingest.limits: the limit of concurrent requests, alone and in the endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from services.ingest.body import reader
from services.ingest.body.media_types import BATCH, LINES, SINGLE
from services.ingest.endpoint import EventsEndpoint
from services.ingest.limits import (
    AGENCY_SLOTS,
    ALL_SLOTS,
    ZSTD_STREAM_SLOTS,
    ConcurrencyLimiter,
    TooManyRequestsError,
)
from tests.support.agencies import LAS_VEGAS, NEW_YORK, key_of
from tests.support.compressing import zstd
from tests.support.problems import assert_problem
from tests.support.processes import post
from tests.support.waiting import until
from tests.unit.sample_endpoint import Exchange, Producer
from tests.unit.sample_events import encoded, event

GOOD = encoded(event())


def test_slots_are_limited_per_agency_and_in_total() -> None:
    limiter = ConcurrencyLimiter(agency=2, everyone=3)
    with limiter.acquire("a"), limiter.acquire("a"):
        with pytest.raises(TooManyRequestsError) as caught, limiter.acquire("a"):
            pass
        assert not caught.value.everyone
        with pytest.raises(TooManyRequestsError) as caught, limiter.acquire("b", 2):
            pass
        assert caught.value.everyone
        with limiter.acquire("b"):
            assert limiter.used == 3
    assert limiter.used == 0


def test_an_agency_has_slots_for_200_clients_but_not_all_slots() -> None:
    assert 200 < AGENCY_SLOTS < ALL_SLOTS


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


async def opened(endpoint: EventsEndpoint, one: Exchange) -> asyncio.Task[None]:
    """Start a request whose body has not arrived yet."""
    used = endpoint._requests.used
    responding = one.start(endpoint)

    async def taken() -> bool:
        return endpoint._requests.used > used

    await until(taken, "its slot taken")
    return responding


class Unread:
    """A body that fails the test if it is read."""

    def __aiter__(self) -> Any:
        raise AssertionError("the body was read")


@pytest.mark.parametrize("media_type", [SINGLE, BATCH, LINES])
async def test_a_request_above_the_agency_limit_is_429_before_its_body_is_read(
    client: httpx.AsyncClient, endpoint: EventsEndpoint, media_type: str
) -> None:
    endpoint._requests = ConcurrencyLimiter(agency=2, everyone=10)
    before = counted("refused")
    open_ones = [exchange(media_type), exchange(LINES)]
    responding = [await opened(endpoint, one) for one in open_ones]
    response = await post(client, Unread(), media_type)
    assert_problem(response, 429, "too-many-requests")
    assert int(response.headers["retry-after"]) > 0
    assert counted("refused") == before + 1
    open_ones[0].put(GOOD)
    open_ones[0].end()
    await asyncio.wait_for(responding[0], 60)
    assert (await post(client, GOOD)).status_code == 202
    open_ones[1].end()
    await asyncio.wait_for(responding[1], 60)
    assert endpoint._requests.used == 0


async def test_a_request_above_the_total_limit_is_503(client: httpx.AsyncClient, endpoint: EventsEndpoint) -> None:
    endpoint._requests = ConcurrencyLimiter(agency=2, everyone=3)
    before = counted("unavailable")
    open_ones = [exchange(agency=agency) for agency in (NEW_YORK, NEW_YORK, LAS_VEGAS)]
    responding = [await opened(endpoint, one) for one in open_ones]
    response = await post(client, Unread())
    assert_problem(response, 503, "too-many-requests")
    assert int(response.headers["retry-after"]) > 0
    assert counted("unavailable") == before + 1
    for one in open_ones:
        one.end()
    await asyncio.wait_for(asyncio.gather(*responding), 60)
    assert (await post(client, GOOD)).status_code == 202


async def test_a_zstd_stream_takes_several_slots(client: httpx.AsyncClient, endpoint: EventsEndpoint) -> None:
    pack = zstd.compress
    for media_type, encoding, slots in ((LINES, "zstd", ZSTD_STREAM_SLOTS), (LINES, "gzip", 1), (SINGLE, "zstd", 1)):
        one = exchange(media_type, encoding=encoding)
        responding = await opened(endpoint, one)
        assert endpoint._requests.used == slots
        one.incoming.put_nowait({"type": "http.disconnect"})
        await asyncio.wait_for(responding, 60)
    endpoint._requests = ConcurrencyLimiter(agency=ZSTD_STREAM_SLOTS - 1, everyone=100)
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
async def test_a_slot_is_released_however_a_request_ends(
    endpoint: EventsEndpoint, media_type: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "BODY_SECONDS", 0.5)
    one = exchange(media_type)
    responding = await opened(endpoint, one)
    ENDS[end](one)
    if (end, media_type) == ("too slow", LINES):
        responding.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(responding, 60)
    assert endpoint._requests.used == 0


@pytest.mark.parametrize("media_type", [SINGLE, BATCH, LINES])
async def test_a_slot_is_released_if_a_request_is_cancelled_or_fails(
    endpoint: EventsEndpoint, producer: Producer, media_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    responding = await opened(endpoint, exchange(media_type))
    responding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await responding
    assert endpoint._requests.used == 0

    async def fails(_: object) -> Any:
        raise RuntimeError

    monkeypatch.setattr(producer, "store", fails)
    one = exchange(media_type)
    responding = await opened(endpoint, one)
    one.put(b"[" + GOOD + b"]" if media_type == BATCH else GOOD)
    one.end()
    with pytest.raises(RuntimeError):
        await asyncio.wait_for(responding, 60)
    assert endpoint._requests.used == 0


async def test_two_hundred_clients_of_one_agency_are_served_at_once(
    endpoint: EventsEndpoint, producer: Producer
) -> None:
    open_ones = [exchange((SINGLE, LINES)[number % 2]) for number in range(200)]
    responding = [await opened(endpoint, one) for one in open_ones]
    for one in open_ones:
        one.put(GOOD)
        one.end()
    await asyncio.wait_for(asyncio.gather(*responding), 60)
    assert len(producer.stored) == 200
    assert endpoint._requests.used == 0
