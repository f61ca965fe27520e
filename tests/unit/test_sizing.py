"""services.aggregator.sizing, as the writer uses it: batches shrink while they are too slow and grow back slowly."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from services.aggregator import writer as module
from services.aggregator.tally import Batch
from tests.support.sessions import ISSUED_0, WriterSession


async def test_a_batch_that_is_always_too_slow_shrinks_until_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each session reads the same records again, in batches of half the size; then they grow, slowly."""
    now = 0.0
    monkeypatch.setattr(module, "perf_counter", lambda: now)

    def judge(batch: Batch) -> None:
        nonlocal now
        records = sum(claim.records for claim in batch.claims)
        now += records * 0.02
        if records > 120:
            raise asyncpg.PostgresError.new({"C": "25P04", "M": "terminating connection due to transaction timeout"})

    size, sessions = WriterSession(most=1_000).size, 0
    while sessions < 20:
        sessions += 1
        session = WriterSession()
        session.writer._size = size
        session.store.judge = judge
        async with session.running() as task:
            putting = asyncio.create_task(session.writer.put(session.spans(ISSUED_0, *range(1_000))))
            await asyncio.wait([putting, task], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await session.writer.settled()
                break
            await session.writer.close()
            await putting
    assert sessions == 5, "1,000, 500, 250, 125, and then it went"
    assert session.store.ends[0] == (0, 62)
    assert session.store.ends[-1][1] == 1_000
    assert 62 <= size.limit < 1_000


async def test_batches_grow_back_slowly_while_they_are_quick() -> None:
    session = WriterSession(most=100)
    session.size.too_slow(25)
    seen = []
    async with session.running():
        for start in range(0, 4_000, 100):
            seen.append(session.size.limit)
            await session.writer.put(session.spans(ISSUED_0, *range(start, start + 100)))
            await session.writer.settled()
    assert seen[0] == 12
    assert seen[-1] == 100
    assert max(claim.records for one in session.store.batches for claim in one.claims) <= 100


def test_a_batch_holds_at_least_one_record() -> None:
    size = WriterSession(most=3).size
    for records in (3, 1, 0):
        size.too_slow(records)
    assert size.limit == 1
    size.committed(1, quick=True)
    assert size.limit == 2
    size.committed(1, quick=True)
    assert size.limit == 2, "a batch that was half empty says nothing"
    size.committed(2, quick=False)
    assert size.limit == 2
