"""services.aggregator.worker: `take` never raises; an error ends the session, and no state in memory survives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from services.aggregator import worker as module
from services.aggregator.decoding import Batch
from services.aggregator.store import FencedError
from services.runtime.supervise import Supervisor
from tests.support.planted_worker import Planted, Running
from tests.support.sessions import ISSUED_0, ISSUED_1, lease, records, turns
from tests.support.waiting import until


@pytest.fixture
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setattr(module, "HEARTBEAT", timedelta(seconds=0.01))
    one = Running(Planted())
    await one.begun()
    yield one
    one.task.cancel()
    await asyncio.gather(one.task, return_exceptions=True)


def plant(running: Running, error: BaseException) -> None:
    def judge(_batch: Batch) -> None:
        raise error

    running.worker.inner.store.judge = judge


async def test_a_written_batch_moves_the_position(running: Running) -> None:
    await running.deliver(ISSUED_0, 0, 1, 2)
    await running.worker.inner.writer.drained()
    assert running.worker.inner.reader.positions == {ISSUED_0: 3, ISSUED_1: 0}
    assert running.worker.inner.store.ends == [(0, 3)]
    assert not running.task.done()


@pytest.mark.parametrize("error", [OSError("planted"), TimeoutError()], ids=lambda e: type(e).__name__)
async def test_an_uncertain_commit_drops_everything_and_ends_the_session(running: Running, error: Exception) -> None:
    plant(running, error)
    await running.deliver(ISSUED_0, 0)
    assert await running.failed() is error
    assert running.worker.inner.reader.next_offsets == {}
    assert running.worker.ended


async def test_records_delivered_after_a_failure_are_not_written(running: Running) -> None:
    plant(running, OSError("planted"))
    await running.deliver(ISSUED_0, 0)
    await running.failed()
    running.worker.inner.store.judge = lambda _batch: None
    await running.deliver(ISSUED_0, 1)
    await running.deliver(ISSUED_1, 0)
    assert running.worker.inner.store.batches == []


async def test_a_handler_of_an_ended_session_writes_nothing_in_the_next(running: Running) -> None:
    store = running.worker.inner.store
    store.open.clear()
    await running.deliver(ISSUED_0, 0)
    await running.deliver(ISSUED_0, 1)
    waiting = asyncio.create_task(running.deliver(ISSUED_0, 2))
    await turns()
    assert not waiting.done()
    running.task.cancel()
    await asyncio.gather(running.task, return_exceptions=True)
    again = Running(running.worker)
    await again.begun()
    await asyncio.wait_for(waiting, 60)
    store.open.set()
    await again.deliver(ISSUED_0, 0)
    await again.worker.inner.writer.drained()
    assert store.batches == []
    assert again.worker.inner.store.ends == [(0, 1)]
    again.task.cancel()
    await asyncio.gather(again.task, return_exceptions=True)


async def test_an_error_of_decoding_is_not_raised(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Batch:
        raise ValueError("planted")

    monkeypatch.setattr("services.aggregator.decoding.accept_detainers", fail)
    await running.deliver(ISSUED_0, 0)
    assert str(await running.failed()) == "planted"


async def test_partitions_of_a_fenced_batch_are_gained_again(running: Running) -> None:
    plant(running, FencedError("detainer-issued/0"))
    await running.deliver(ISSUED_0, 0)
    await running.worker.inner.writer.drained()
    running.worker.inner.store.judge = lambda _batch: None
    await running.begun()
    await running.deliver(ISSUED_0, 0)
    await running.worker.inner.writer.drained()
    assert running.worker.inner.store.ends == [(0, 1)]
    assert not running.task.done()


async def test_cancellation_ends_the_session(running: Running) -> None:
    running.worker.inner.store.open.clear()
    await running.deliver(ISSUED_0, 0)
    running.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running.task
    assert running.worker.ended


async def test_outside_a_session_nothing_is_written() -> None:
    worker = Planted()
    await worker.take(records(ISSUED_0, 0))
    assert worker.inner.store.batches == []


class TestAGap:
    """Records missing before a delivery: transaction markers, or a consumer that was reset to the end."""

    async def test_is_accepted_if_the_log_has_it(self, running: Running) -> None:
        await running.deliver(ISSUED_0, 0)
        running.worker.log.first[ISSUED_0] = 3
        await running.deliver(ISSUED_0, 3, 4)
        await running.worker.inner.writer.drained()
        assert running.worker.inner.store.ends == [(0, 1), (1, 5)]

    async def test_is_not_accepted_if_the_log_has_a_record_there(self, running: Running) -> None:
        await running.deliver(ISSUED_0, 0)
        running.worker.log.first[ISSUED_0] = 1
        await running.deliver(ISSUED_0, 3, 4)
        await running.worker.inner.writer.drained()
        assert running.worker.inner.store.ends == [(0, 1)]
        assert not running.task.done()

    async def test_ends_the_session_if_the_log_cannot_be_queried(self, running: Running) -> None:
        await running.deliver(ISSUED_0, 0)
        running.worker.log.error = TimeoutError("planted")
        await running.deliver(ISSUED_0, 3)
        assert str(await running.failed()) == "planted"


class TestHeartbeats:
    """A lease expires after 3 s. A batch or a query of the log may take nearly as long."""

    async def test_continue_while_a_batch_hangs_and_a_partition_is_being_gained(self, running: Running) -> None:
        inner = running.worker.inner
        inner.store.open.clear()
        await running.deliver(ISSUED_0, 0)
        running.worker.lease_manager.granted[ISSUED_1] = lease(ISSUED_1, 0, epoch=2)
        before = running.worker.lease_manager.renewals

        async def beats() -> bool:
            return running.worker.lease_manager.renewals > before + 5

        await until(beats, "heartbeats continue")
        assert ISSUED_1 not in inner.reader.next_offsets, "it waits for the decoded batch"
        inner.store.open.set()
        await running.begun()

    async def test_without_a_response_for_the_lease_time_end_the_session(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        running.worker.lease_manager.responds.clear()
        monkeypatch.setattr(module, "EXPIRY", timedelta(seconds=0.05))
        assert isinstance(await running.failed(), TimeoutError)
        assert running.worker.ended


async def test_a_stopped_process_starts_no_session_even_if_closing_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SIGTERM while PostgreSQL is unreachable: the supervisor ends, whatever error closing the session raises."""
    monkeypatch.setattr(module, "HEARTBEAT", timedelta(seconds=0.01))
    worker = Planted()
    original = worker.session

    async def ends_badly(up: Any) -> None:
        try:
            await original(up)
        finally:
            raise OSError("the connection is gone")

    supervising = asyncio.create_task(Supervisor("a test", ends_badly).run())

    async def up() -> bool:
        return not worker.ended

    await until(up, "a session")
    worker.lease_manager.ends = OSError("planted")
    supervising.cancel()
    done, _ = await asyncio.wait([supervising], timeout=60)
    assert supervising in done
    assert supervising.cancelled()
    assert worker.opened == 1
