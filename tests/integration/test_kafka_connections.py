"""A client of Kafka that is given up in the middle of its start or of its end leaves no connection open."""

from __future__ import annotations

import asyncio
import gc

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.conn import AIOKafkaConnection

from deploy.local.parts import KafkaPart
from services.runtime.kafka import start, stop
from tests.support.proxies import Proxy, carrying


class AnswersHeld(Proxy):
    """Lets `answers` through; the next and all behind it wait until `open`."""

    def __init__(self, answers: int) -> None:
        self._left = answers
        self.waiting = asyncio.Event()
        self.open = asyncio.Event()

    async def _lets(self, data: bytes, committing: asyncio.Event) -> bool:
        self._left -= 1
        if self._left < 0:
            self.waiting.set()
            await self.open.wait()
        return True


def _still_open(port: int) -> list[AIOKafkaConnection]:
    """The connections of this test's client, told from those of others by its name."""
    found = [one for one in gc.get_objects() if isinstance(one, AIOKafkaConnection) and one.connected()]
    return [one for one in found if one._client_id == _name(port)]


def _name(port: int) -> str:
    return f"given-up-{port}"


def _consumer(port: int) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(bootstrap_servers=f"127.0.0.1:{port}", client_id=_name(port), request_timeout_ms=600_000)


def _port(part: KafkaPart) -> int:
    return int(part.bootstrap.rpartition(":")[2])


async def test_cancelled_while_it_asks_for_the_brokers(kafka: KafkaPart) -> None:
    held = AnswersHeld(1)
    async with carrying(held, "127.0.0.1", _port(kafka)) as port:
        consumer = _consumer(port)
        starting = asyncio.create_task(start(consumer.start))
        await held.waiting.wait()
        assert _still_open(port)
        starting.cancel()
        await asyncio.sleep(0)
        held.open.set()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await stop(consumer)
        assert not _still_open(port)


async def test_who_does_not_start_within_two_seconds_after_that_is_given_up(kafka: KafkaPart) -> None:
    held = AnswersHeld(0)
    async with carrying(held, "127.0.0.1", _port(kafka)) as port:
        consumer = _consumer(port)
        starting = asyncio.create_task(start(consumer.start))
        await held.waiting.wait()
        starting.cancel()
        await asyncio.wait([starting], timeout=60)
        assert starting.cancelled(), "it did not wait for an answer, which nobody gives"
        await stop(consumer)
        assert not _still_open(port)
        held.open.set()


async def test_an_end_that_is_given_up_closes_its_connections_first(
    kafka: KafkaPart, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = _port(kafka)
    consumer = _consumer(port)
    await start(consumer.start)
    await consumer.topics()
    assert _still_open(port)
    waiting = asyncio.Event()
    assert consumer._fetcher is not None
    fetcher_ends = consumer._fetcher.close

    async def never() -> None:
        waiting.set()
        await fetcher_ends()
        await asyncio.Event().wait()

    monkeypatch.setattr(consumer._fetcher, "close", never)
    stopping = asyncio.create_task(stop(consumer))
    await waiting.wait()
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert not _still_open(port)
