"""A worker whose sessions use fakes for the leases, the log and the store."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from typing import Any, cast

from schemas.log import Partition, Vector
from services.aggregator.lease_manager import Lease
from services.aggregator.reader import Consumer
from services.aggregator.worker import Worker, _Session
from services.runtime.settings import Settings
from tests.support.sessions import ISSUED_0, ISSUED_1, WriterSession, lease, records
from tests.support.waiting import until


class FakeLeaseManager:
    """Leases both partitions. Counts renewals; a renewal hangs while `responds` is cleared."""

    def __init__(self) -> None:
        self.renewals = 0
        self.halted: dict[Partition, int] = {}
        self.granted = {partition: lease(partition) for partition in (ISSUED_0, ISSUED_1)}
        self.responds = asyncio.Event()
        self.responds.set()
        self.ends: Exception | None = None
        self.halts: list[tuple[Partition, int, str]] = []

    async def renew(self, _busy: Collection[Partition]) -> dict[Partition, int]:
        await self.responds.wait()
        self.renewals += 1
        return {partition: one.epoch for partition, one in self.granted.items()}

    async def leases(self) -> dict[Partition, Lease]:
        return self.granted

    async def halt(self, partition: Partition, epoch: int, reason: str) -> None:
        self.halts.append((partition, epoch, reason))

    async def sign_off(self) -> None:
        if self.ends is not None:
            raise self.ends


class FakeLog:
    """A log whose first records are at `first`, and whose ends equal the positions."""

    def __init__(self) -> None:
        self.first: dict[Partition, int] = {}
        self.more: set[Partition] = set()
        self.error: Exception | None = None

    async def first_offset(self, partition: Partition, start: int) -> int | None:
        if self.error is not None:
            raise self.error
        return self.first.get(partition, start)

    async def partitions(self) -> set[Partition]:
        return {ISSUED_0, ISSUED_1} | self.more

    async def lost(self, _positions: object) -> dict[Partition, str]:
        return {}

    async def ends(self, partitions: Mapping[Partition, int]) -> Vector:
        return Vector(partitions)


class FakeLag:
    """Reports nothing and finds no open transaction."""

    async def high_watermarks(self, _partitions: object) -> Vector:
        return Vector()

    async def report(self, _positions: object, _stable: object, _high: object) -> None: ...


class Planted(Worker):
    """A worker whose sessions use the fakes."""

    def __init__(self) -> None:
        super().__init__(Settings(), {}, self._running)
        self.inner = WriterSession()
        self.lease_manager, self.log = FakeLeaseManager(), FakeLog()
        self.opened = 0

    async def _running(self) -> Consumer:
        return self.inner.consumer

    async def _open(self, _stack: AsyncExitStack) -> _Session:
        self.opened += 1
        if self.opened > 1:
            self.inner = WriterSession()
        self.inner.reader.stop_all()
        lease_manager, log, lag = (cast("Any", one) for one in (self.lease_manager, self.log, FakeLag()))
        return _Session(lease_manager, self.inner.reader, self.inner.writer, log, lag)

    @property
    def ended(self) -> bool:
        return self._session is None


class Running:
    """A planted worker in a session that reads both partitions from offset 0."""

    def __init__(self, worker: Planted) -> None:
        self.worker = worker
        self.task = asyncio.create_task(worker.session(lambda: None))

    async def begun(self) -> None:
        async def held() -> bool:
            return len(self.worker.inner.reader.next_offsets) == 2

        await until(held, "both partitions read")

    async def deliver(self, partition: Partition, *offsets: int) -> None:
        await self.worker.take(records(partition, *offsets))

    async def failed(self) -> BaseException:
        """The error that ended the session."""
        await asyncio.wait([self.task], timeout=60)
        group = self.task.exception()
        assert isinstance(group, BaseExceptionGroup)
        (error,) = group.exceptions
        return error
