"""services.aggregator.writer: strict order, no retry from memory; an error rejects one record or ends the session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg
import pytest

from schemas.log import RecordAddress
from services.aggregator import writer as module
from services.aggregator.decoding import Batch
from services.aggregator.store import FencedError
from services.runtime.errors import InvariantError
from tests.support.sessions import ISSUED_0, ISSUED_1, WriterSession, lease, turns


@pytest.fixture
async def session() -> WriterSession:
    return WriterSession()


def poison(*offsets: int, error: Exception | None = None) -> Callable[[Batch], None]:
    """Fail each batch with one of these records, unless the record is rejected as internal_error."""

    def judge(batch: Batch) -> None:
        read = {one.address.offset for one in batch.rejects if one.reason != "internal_error"}
        if read & set(offsets):
            raise error or InvariantError("planted")

    return judge


async def test_a_written_batch_moves_the_position(session: WriterSession) -> None:
    async with session.running():
        await session.writer.put(session.spans(ISSUED_0, 0, 1, 2))
        assert session.writer.busy == {ISSUED_0}
        await session.writer.drained()
    assert session.reader.positions == {ISSUED_0: 3, ISSUED_1: 0}
    assert session.store.ends == [(0, 3)]
    assert session.writer.busy == set()


async def test_batches_are_written_in_order_one_decoded_ahead(session: WriterSession) -> None:
    session.store.open.clear()
    async with session.running():
        puts = []
        for offset in range(4):
            puts.append(asyncio.create_task(session.writer.put(session.spans(ISSUED_0, offset))))
            await turns()
        assert [put.done() for put in puts] == [True, True, False, False], "one is being written, one is queued"
        session.store.open.set()
        await session.writer.drained()
    assert session.store.ends == [(0, 1), (1, 2), (2, 3), (3, 4)]


async def test_a_small_batch_does_not_overtake_a_large_one_that_is_being_decoded(session: WriterSession) -> None:
    many = 10 * module._DECODE_STEP
    async with session.running():
        puts = [
            asyncio.create_task(session.writer.put(session.spans(ISSUED_0, *range(many)))),
            asyncio.create_task(session.writer.put(session.spans(ISSUED_0, many))),
        ]
        await asyncio.gather(*puts)
        await session.writer.drained()
    assert session.store.ends == [(0, many), (many, many + 1)]


async def test_other_tasks_run_while_a_large_batch_is_decoded(session: WriterSession) -> None:
    async with session.running():
        put = asyncio.create_task(session.writer.put(session.spans(ISSUED_0, *range(10 * module._DECODE_STEP))))
        await turns(3)
        assert not put.done(), "each turn of the event loop decodes a few records"
        await put
        await session.writer.drained()


@pytest.mark.parametrize(
    "error",
    [
        OSError("planted"),
        TimeoutError(),
        asyncpg.DeadlockDetectedError("planted"),
        asyncpg.InternalClientError("planted"),
        asyncpg.UndefinedTableError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("offsets", [[0], [0, 1]], ids=["of one record", "of two"])
async def test_an_uncertain_commit_ends_the_session(
    session: WriterSession, error: Exception, offsets: list[int]
) -> None:
    """A missing table is not the fault of a record."""
    session.store.judge = poison(0, error=error)
    async with session.running() as task:
        await session.writer.put(session.spans(ISSUED_0, *offsets))
        await asyncio.wait([task])
        assert task.exception() is error
    assert session.store.batches == []
    assert session.store.tries == 1


async def test_batches_decoded_after_a_failure_are_not_written(session: WriterSession) -> None:
    session.store.open.clear()
    session.store.judge = poison(0, error=OSError("planted"))
    async with session.running() as task:
        puts = [asyncio.create_task(session.writer.put(session.spans(ISSUED_0, n))) for n in range(3)]
        await turns()
        session.store.open.set()
        await asyncio.wait([task])
        await session.writer.close()
        await asyncio.gather(*puts)
        await session.writer.put(session.spans(ISSUED_1, 0))
    assert session.store.batches == []


async def test_a_waiting_handler_is_released_when_the_session_ends(session: WriterSession) -> None:
    session.store.open.clear()
    async with session.running():
        puts = [asyncio.create_task(session.writer.put(session.spans(ISSUED_0, n))) for n in range(3)]
        await turns()
    await session.writer.close()
    async with asyncio.timeout(60):
        await asyncio.gather(*puts)


async def test_a_cancelled_handler_leaves_no_pending_work(session: WriterSession) -> None:
    session.store.open.clear()
    async with session.running():
        puts = [asyncio.create_task(session.writer.put(session.spans(ISSUED_0, n))) for n in range(3)]
        await turns()
        puts[2].cancel()
        session.store.open.set()
        async with asyncio.timeout(60):
            await session.writer.drained()
    assert session.store.ends == [(0, 1), (1, 2)]


async def test_settled_waits_for_taken_batches_only(session: WriterSession) -> None:
    session.store.open.clear()
    async with session.running():
        await session.writer.put(session.spans(ISSUED_0, 0))
        settled = asyncio.create_task(session.writer.drained())
        await turns()
        assert not settled.done()
        later = [asyncio.create_task(session.writer.put(session.spans(ISSUED_1, n))) for n in range(3)]
        session.store.open.set()
        await turns(3)
        session.store.open.clear()
        await asyncio.wait_for(settled, 60)
        session.store.open.set()
        await asyncio.gather(*later)


async def test_a_fenced_batch_loses_its_partitions_and_later_batches(session: WriterSession) -> None:
    session.store.open.clear()
    session.store.judge = poison(0, error=FencedError("detainer-issued/0"))
    async with session.running() as task:
        await session.writer.put(session.spans(ISSUED_0, 0))
        await turns()
        await session.writer.put(session.spans(ISSUED_0, 1))
        session.store.open.set()
        async with asyncio.timeout(60):
            await session.writer.drained()
        assert session.reader.next_offsets == {ISSUED_1: 0}
        assert not task.done()
        session.reader.start(lease(ISSUED_0, 0, epoch=2))
        session.store.judge = lambda _batch: None
        await session.writer.put(session.spans(ISSUED_0, 0, 1))
        await session.writer.drained()
    assert [(claim.epoch, claim.start, claim.end) for one in session.store.batches for claim in one.claims] == [
        (2, 0, 2)
    ]


async def test_one_poison_record_is_rejected_and_all_others_are_written_once(session: WriterSession) -> None:
    session.store.judge = poison(37)
    async with session.running():
        await session.writer.put([*session.spans(ISSUED_0, *range(64)), *session.spans(ISSUED_1, *range(30))])
        await session.writer.drained()
    written = sorted((claim.partition, claim.start, claim.end) for one in session.store.batches for claim in one.claims)
    for partition, end in ((ISSUED_0, 64), (ISSUED_1, 30)):
        pieces = [(start, stop) for of, start, stop in written if of == partition]
        assert [pieces[0][0], *(stop for _, stop in pieces)] == [*(start for start, _ in pieces), end]
    internal = [one for batch in session.store.batches for one in batch.rejects if one.reason == "internal_error"]
    assert [one.address for one in internal] == [RecordAddress(ISSUED_0, 37)]


async def test_a_halt_during_a_bisect_drops_the_rest(session: WriterSession) -> None:
    """The second half is fenced: its partitions are read again from the positions in PostgreSQL."""

    def judge(batch: Batch) -> None:
        if session.store.halts:
            raise FencedError("detainer-issued/0")
        poison(1)(batch)
        if any(one.reason == "internal_error" for one in batch.rejects):
            session.store.halts = {ISSUED_0: "InternalErrors: a test"}

    session.store.judge = judge
    async with session.running() as task:
        await session.writer.put(session.spans(ISSUED_0, *range(8)))
        async with asyncio.timeout(60):
            await session.writer.drained()
        assert not task.done()
    assert session.store.ends == [(0, 1), (1, 2)]
    assert session.reader.next_offsets == {ISSUED_1: 0}


async def test_an_error_without_records_is_not_attributed_to_a_record(session: WriterSession) -> None:
    def fail(_batch: Batch) -> None:
        raise InvariantError("planted")

    session.store.judge = fail
    async with session.running() as task:
        gap = session.reader.skip(ISSUED_0, 0, 5)
        assert gap is not None
        await session.writer.put([gap])
        await asyncio.wait([task])
        assert isinstance(task.exception(), InvariantError)


async def test_an_error_outside_the_write_ends_the_session(session: WriterSession) -> None:
    async with session.running() as task:
        await session.writer.fail(OSError("first"))
        await session.writer.fail(OSError("second"))
        await asyncio.wait([task])
        assert str(task.exception()) == "first"


async def test_cancellation_is_not_swallowed(session: WriterSession) -> None:
    session.store.open.clear()
    async with session.running() as task:
        await session.writer.put(session.spans(ISSUED_0, 0))
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
