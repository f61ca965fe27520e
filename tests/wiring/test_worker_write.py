"""services.aggregator.worker: `write` never raises; what fails ends the session, and nothing is read on from memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from services.aggregator.leases import Partition
from services.aggregator.log import Position
from services.aggregator.reader import Consumer, Reader
from services.aggregator.store import Fenced, Outcomes
from services.aggregator.tally import Batch
from services.aggregator.tenancy import Lease
from services.aggregator.worker import Worker, _Session
from services.runtime.settings import Settings
from tests.support.batches import Record

ISSUED_0, ISSUED_1 = Partition("detainer-issued", 0), Partition("detainer-issued", 1)


class Quiet:
    """A consumer that does nothing."""

    def pause(self, *_: TopicPartition) -> None: ...
    def resume(self, *_: TopicPartition) -> None: ...
    def seek(self, _: TopicPartition, __: int) -> None: ...


class Store:
    """Keeps each batch, or fails."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.error: BaseException | None = None

    async def write(self, batch: Batch) -> Outcomes:
        if self.error is not None:
            raise self.error
        self.batches.append(batch)
        return Counter()


async def _no_consumer() -> Consumer:
    raise AssertionError("no session is opened here")


class Session:
    """A worker in the middle of a session that holds two partitions from offset 0."""

    def __init__(self) -> None:
        self.store = Store()
        self.reader = Reader(Quiet())
        for partition in (ISSUED_0, ISSUED_1):
            self.reader.gain(Lease(Position(partition, 0, None, None), 1, None))
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.worker = Worker(Settings(), {}, _no_consumer)
        nothing = cast("Any", None)
        self.worker._reader = self.reader
        self.worker._session = _Session(nothing, cast("Any", self.store), nothing, nothing, self.failed)

    async def deliver(self, partition: Partition, *offsets: int) -> None:
        records: Sequence[Record] = [Record(partition.topic, partition.number, one, None, b"{}") for one in offsets]
        await self.worker.write(records)


@pytest.fixture
async def session() -> Session:
    return Session()


async def test_a_batch_that_is_written_moves_the_position(session: Session) -> None:
    await session.deliver(ISSUED_0, 0, 1, 2)
    assert session.reader.next_offsets == {ISSUED_0: 3, ISSUED_1: 0}
    assert [claim.end for batch in session.store.batches for claim in batch.claims] == [3]
    assert not session.failed.done()


@pytest.mark.parametrize(
    "error", [OSError("planted"), ValueError("planted"), TimeoutError()], ids=lambda e: type(e).__name__
)
async def test_a_write_not_known_to_be_committed_drops_everything_and_ends_the_session(
    session: Session, error: Exception
) -> None:
    session.store.error = error
    await session.deliver(ISSUED_0, 0)
    assert session.reader.next_offsets == {}
    assert session.failed.exception() is error


async def test_what_is_delivered_after_a_failure_is_not_written(session: Session) -> None:
    session.store.error = OSError("planted")
    await session.deliver(ISSUED_0, 0)
    session.store.error = None
    await session.deliver(ISSUED_0, 1)
    await session.deliver(ISSUED_1, 0)
    assert session.store.batches == []
    assert session.failed.exception() is not None


async def test_a_second_failure_does_not_escape_either(session: Session) -> None:
    session.store.error = OSError("first")
    await session.deliver(ISSUED_0, 0)
    session.reader.gain(Lease(Position(ISSUED_0, 0, None, None), 2, None))
    session.store.error = ValueError("second")
    await session.deliver(ISSUED_0, 0)
    assert isinstance(session.failed.exception(), OSError)


async def test_a_fenced_batch_loses_its_partitions_and_no_other(session: Session) -> None:
    session.store.error = Fenced("detainer-issued/0")
    await session.deliver(ISSUED_0, 0)
    assert session.reader.next_offsets == {ISSUED_1: 0}
    assert not session.failed.done()


async def test_cancellation_is_not_swallowed(session: Session) -> None:
    session.store.error = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await session.deliver(ISSUED_0, 0)


async def test_outside_a_session_nothing_is_written(session: Session) -> None:
    session.worker._session = None
    await session.deliver(ISSUED_0, 0)
    assert session.store.batches == []
