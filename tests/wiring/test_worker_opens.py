"""services.aggregator.worker: a session takes leases only once it has seen that every partition can be read."""

from __future__ import annotations

from typing import NoReturn

import pytest
from aiokafka.errors import KafkaTimeoutError

from services.aggregator import worker as module
from services.aggregator.leases import Partition
from services.aggregator.reader import Consumer
from services.aggregator.worker import PARTITIONS, Worker
from services.runtime import postgres
from services.runtime.settings import Settings
from tests.support.sessions import Quiet


class FakeLag:
    """Shows nothing."""

    def __init__(self, *_: object) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class LeaderlessLog(FakeLag):
    """A log of which brokers tell what partitions there are, but the leader of one does not answer."""

    async def partitions(self) -> set[Partition]:
        return set(PARTITIONS)

    async def ends(self, asked: set[Partition]) -> dict[Partition, int]:
        assert asked == set(PARTITIONS), "also of those that another worker reads now"
        raise KafkaTimeoutError


async def test_a_worker_that_cannot_read_a_partition_takes_no_lease_and_is_not_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def no_database(*_: object) -> NoReturn:
        pytest.fail("it asked for leases")

    async def consumer() -> Consumer:
        return Quiet()

    monkeypatch.setattr(module, "Log", LeaderlessLog)
    monkeypatch.setattr(module, "LagView", FakeLag)
    monkeypatch.setattr(postgres, "connect", no_database)
    with pytest.raises(KafkaTimeoutError):
        await Worker(Settings(), {}, consumer).session(lambda: pytest.fail("it said that it was ready"))
