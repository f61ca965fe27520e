"""services.aggregator.worker: a leased partition missing in Kafka was either just added or deleted."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from schemas.log import Partition
from services.aggregator.worker import ABSENT_CHECKS, PartitionsAddedError, _Session
from tests.support.planted_worker import Planted
from tests.support.sessions import ISSUED_0, lease

ADDED = Partition("detainer-issued", 12)
ABSENT = Partition("detainer-issued", 13)


@pytest.fixture
def worker() -> Planted:
    return Planted()


@pytest.fixture
async def session(worker: Planted) -> _Session:
    """A session with leases for two partitions that did not exist when it began."""
    opened = await worker._open(AsyncExitStack())
    opened.epochs = {ISSUED_0: 1, ADDED: 3, ABSENT: 7}
    return opened


async def test_a_missing_partition_does_not_stop_others(worker: Planted, session: _Session) -> None:
    worker.lease_manager.granted |= {ABSENT: lease(ABSENT, epoch=7)}
    await worker._start_reading(session)
    assert session.reader.next_offsets == {ISSUED_0: 0}


async def test_a_partition_that_appears_ends_the_session_and_is_not_halted(worker: Planted, session: _Session) -> None:
    for _ in range(ABSENT_CHECKS - 1):
        await worker._inspect_log(session)
    worker.log.more = {ADDED, ABSENT}
    with pytest.raises(PartitionsAddedError, match="2 partitions"):
        await worker._inspect_log(session)
    assert worker.lease_manager.halts == []


async def test_a_partition_missing_in_many_checks_is_halted(worker: Planted, session: _Session) -> None:
    for _ in range(ABSENT_CHECKS - 1):
        await worker._inspect_log(session)
    assert worker.lease_manager.halts == [], "a broker's metadata may be old"
    await worker._inspect_log(session)
    reason = "PositionLost: the topic has no such partition"
    assert worker.lease_manager.halts == [(ADDED, 3, reason), (ABSENT, 7, reason)]
    assert session.epochs == {ISSUED_0: 1}


async def test_checks_restart_for_a_partition_released_in_between(worker: Planted, session: _Session) -> None:
    for _ in range(ABSENT_CHECKS - 1):
        await worker._inspect_log(session)
    epoch = session.epochs.pop(ADDED)
    await worker._inspect_log(session)
    session.epochs[ADDED] = epoch
    await worker._inspect_log(session)
    assert [partition for partition, *_ in worker.lease_manager.halts] == [ABSENT]
