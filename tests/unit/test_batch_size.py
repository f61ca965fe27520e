"""services.aggregator.batch_size in the writer: slow batches shrink the limit, quick batches raise it slowly."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from services.aggregator import writer as module
from services.aggregator.decoding import Batch
from tests.support.sessions import ISSUED_0, WriterSession


async def test_slow_batches_halve_the_limit_until_they_are_fast_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each session reads the same records again in batches of half the size. Later batches grow slowly."""
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
                await session.writer.drained()
                break
            await session.writer.close()
            await putting
    assert sessions == 5, "1,000, 500, 250, 125, then a success"
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
            await session.writer.drained()
    assert seen[0] == 12
    assert seen[-1] == 100
    assert max(claim.records for one in session.store.batches for claim in one.claims) <= 100


def test_a_batch_has_at_least_one_record() -> None:
    size = WriterSession(most=3).size
    for records in (3, 1, 0):
        size.too_slow(records)
    assert size.limit == 1
    size.committed(1, quick=True)
    assert size.limit == 2
    size.committed(1, quick=True)
    assert size.limit == 2, "a half-empty batch is no evidence"
    size.committed(2, quick=False)
    assert size.limit == 2
