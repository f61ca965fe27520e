"""A worker whose sessions hold fakes: leases, a log and a writer that do what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import AsyncExitStack
from typing import Any, cast

from services.aggregator.leases import Partition
from services.aggregator.reader import Consumer
from services.aggregator.tenancy import Lease
from services.aggregator.worker import Worker, _Session
from services.runtime.settings import Settings
from tests.support.sessions import ISSUED_0, ISSUED_1, WriterSession, lease, records
from tests.support.waiting import until


class FakeTenancy:
    """Leases both partitions; counts rounds, and hangs in one when told to."""

    def __init__(self) -> None:
        self.rounds = 0
        self.halted: dict[Partition, int] = {}
        self.leases = {partition: lease(partition) for partition in (ISSUED_0, ISSUED_1)}
        self.answers = asyncio.Event()
        self.answers.set()
        self.ends: Exception | None = None
        self.halts: list[tuple[Partition, int, str]] = []

    async def round(self, _busy: Collection[Partition]) -> dict[Partition, int]:
        await self.answers.wait()
        self.rounds += 1
        return {partition: one.epoch for partition, one in self.leases.items()}

    async def held(self) -> dict[Partition, Lease]:
        return self.leases

    async def halt(self, partition: Partition, epoch: int, reason: str) -> None:
        self.halts.append((partition, epoch, reason))

    async def sign_off(self) -> None:
        if self.ends is not None:
            raise self.ends


class FakeLog:
    """A log whose partitions begin at `first` when asked, and are where they were."""

    def __init__(self) -> None:
        self.first: dict[Partition, int] = {}
        self.more: set[Partition] = set()
        self.error: Exception | None = None

    async def begins_at(self, partition: Partition, start: int) -> int | None:
        if self.error is not None:
            raise self.error
        return self.first.get(partition, start)

    async def partitions(self) -> set[Partition]:
        return {ISSUED_0, ISSUED_1} | self.more

    async def lost(self, _positions: object) -> dict[Partition, str]:
        return {}

    async def ends(self, positions: dict[Partition, int]) -> dict[Partition, int]:
        return dict(positions)


class FakeLag:
    """Shows nothing."""

    async def show(self, _positions: object, _ends: object) -> None: ...


class Planted(Worker):
    """A worker whose sessions hold the fakes of a test."""

    def __init__(self) -> None:
        super().__init__(Settings(), {}, self._running)
        self.inner = WriterSession()
        self.tenancy, self.log = FakeTenancy(), FakeLog()
        self.opened = 0

    async def _running(self) -> Consumer:
        return self.inner.consumer

    async def _open(self, _stack: AsyncExitStack) -> _Session:
        self.opened += 1
        if self.opened > 1:
            self.inner = WriterSession()
        self.inner.reader.lose_all()
        tenancy, log, lag = (cast("Any", one) for one in (self.tenancy, self.log, FakeLag()))
        return _Session(tenancy, self.inner.reader, self.inner.writer, log, lag)

    @property
    def ended(self) -> bool:
        return self._session is None


class Running:
    """A planted worker in the middle of a session, both partitions held from offset 0."""

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
        """The one error that ended the session."""
        await asyncio.wait([self.task], timeout=60)
        group = self.task.exception()
        assert isinstance(group, BaseExceptionGroup)
        (error,) = group.exceptions
        return error
