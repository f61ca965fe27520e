"""services.aggregator.worker: what is leased and Kafka does not show is either added, or gone."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from services.aggregator.leases import Partition
from services.aggregator.worker import ABSENT_LOOKS, PartitionsAddedError, _Session
from tests.support.planted_worker import Planted
from tests.support.sessions import ISSUED_0, lease

ADDED = Partition("detainer-issued", 12)
ABSENT = Partition("detainer-issued", 13)


@pytest.fixture
def worker() -> Planted:
    return Planted()


@pytest.fixture
async def session(worker: Planted) -> _Session:
    """One that is leased two partitions which were not there when it began."""
    opened = await worker._open(AsyncExitStack())
    opened.epochs = {ISSUED_0: 1, ADDED: 3, ABSENT: 7}
    return opened


async def test_it_keeps_no_other_from_being_read(worker: Planted, session: _Session) -> None:
    worker.tenancy.leases |= {ABSENT: lease(ABSENT, epoch=7)}
    await worker._gain(session)
    assert session.reader.next_offsets == {ISSUED_0: 0}


async def test_one_that_kafka_has_by_now_ends_the_session_and_is_not_halted(worker: Planted, session: _Session) -> None:
    for _ in range(ABSENT_LOOKS - 1):
        await worker._look_ahead(session)
    worker.log.more = {ADDED, ABSENT}
    with pytest.raises(PartitionsAddedError, match="2 partitions"):
        await worker._look_ahead(session)
    assert worker.tenancy.halts == []


async def test_one_that_many_looks_have_missed_is_halted(worker: Planted, session: _Session) -> None:
    for _ in range(ABSENT_LOOKS - 1):
        await worker._look_ahead(session)
    assert worker.tenancy.halts == [], "a broker may not have heard of it yet"
    await worker._look_ahead(session)
    reason = "PositionLost: the topic has no such partition"
    assert worker.tenancy.halts == [(ADDED, 3, reason), (ABSENT, 7, reason)]
    assert session.epochs == {ISSUED_0: 1}


async def test_looks_count_anew_for_one_that_was_given_up_between(worker: Planted, session: _Session) -> None:
    for _ in range(ABSENT_LOOKS - 1):
        await worker._look_ahead(session)
    epoch = session.epochs.pop(ADDED)
    await worker._look_ahead(session)
    session.epochs[ADDED] = epoch
    await worker._look_ahead(session)
    assert [partition for partition, *_ in worker.tenancy.halts] == [ABSENT]
