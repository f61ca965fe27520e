"""services.aggregator.worker: a session acquires leases only after it has reached every partition."""

from __future__ import annotations

from typing import NoReturn

import pytest
from aiokafka.errors import KafkaTimeoutError

from schemas.log import Partition
from services.aggregator import worker as module
from services.aggregator.reader import Consumer
from services.aggregator.worker import PARTITIONS, Worker
from services.runtime import postgres
from services.runtime.settings import Settings
from tests.support.sessions import FakeConsumer


class FakeLag:
    """Reports nothing."""

    def __init__(self, *_: object) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class LeaderlessLog(FakeLag):
    """A log whose partitions are known, but one leader does not respond."""

    async def partitions(self) -> set[Partition]:
        return set(PARTITIONS)

    async def ends(self, partitions: set[Partition]) -> dict[Partition, int]:
        assert partitions == set(PARTITIONS), "including partitions that another worker reads"
        raise KafkaTimeoutError


async def test_a_worker_that_cannot_read_a_partition_takes_no_lease_and_is_not_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def no_database(*_: object) -> NoReturn:
        pytest.fail("it requested leases")

    async def consumer() -> Consumer:
        return FakeConsumer()

    monkeypatch.setattr(module, "LogInspector", LeaderlessLog)
    monkeypatch.setattr(module, "LagReporter", FakeLag)
    monkeypatch.setattr(postgres, "connect", no_database)
    with pytest.raises(KafkaTimeoutError):
        await Worker(Settings(), {}, consumer).session(lambda: pytest.fail("it reported that it was ready"))
