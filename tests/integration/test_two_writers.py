"""Two aggregators write at the same time: no deadlock, and every sum is exact."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from schemas.jurisdiction import JurisdictionKind, registry
from tests.integration.conftest import OpenStore
from tests.support import events
from tests.support.batches import Record, batch, lease
from tests.support.kafka_log import Message
from tests.support.positions import Connection, accounts

COUNTIES = [one.code for one in registry() if one.kind is JurisdictionKind.COUNTY][:300]
DETAINERS = range(300)
"""As many rows a batch, so that two batches meet in the middle."""
RISING, FALLING = (1, 3, 5, 7, 9), (8, 7, 6, 4, 2)


async def _write_at_once(
    connection: Connection, open_store: OpenStore, messages: Mapping[str, Sequence[Message]], size: int
) -> None:
    """Each worker writes its messages in batches of this size, from its own partition."""
    stores, batches = {}, {}
    for number, (worker, mine) in enumerate(messages.items()):
        records = [Record("detainer-issued", number, offset, one.key, one.value) for offset, one in enumerate(mine)]
        batches[worker] = [batch(records[start : start + size]) for start in range(0, len(records), size)]
        await lease(connection, [records[0].at], owner=worker)
        stores[worker] = await open_store(worker)

    async def write(worker: str) -> None:
        for one in batches[worker]:
            await stores[worker].write(one)

    await asyncio.gather(*map(write, messages))


async def test_two_workers_with_the_same_counters_write_at_once_and_never_deadlock(
    connection: Connection, open_store: OpenStore
) -> None:
    """Different partitions and the same counters, in opposite order; every sum is exact."""
    messages: dict[str, list[Message]] = {"one": [], "two": []}
    for turn in range(10):
        for number, code in enumerate(COUNTIES, start=turn * len(COUNTIES)):
            messages["one"].append(events.message("issued", events.issued(number, jurisdiction=code)))
        for number, code in enumerate(reversed(COUNTIES), start=100_000 + turn * len(COUNTIES)):
            messages["two"].append(events.message("issued", events.issued(number, jurisdiction=code)))
    await _write_at_once(connection, open_store, messages, len(COUNTIES))
    counted = await connection.fetch("SELECT jurisdiction, n FROM weekly_counter")
    assert {row["jurisdiction"]: row["n"] for row in counted} == dict.fromkeys(COUNTIES, 20)
    for account in (await accounts(connection)).values():
        assert account["records"] == account["facts"]


async def test_two_workers_with_the_same_detainers_at_once_keep_every_fact_once(
    connection: Connection, open_store: OpenStore
) -> None:
    """A sender with different record keys may spread one detainer over several partitions."""
    messages = {
        "one": [events.message("issued", events.issued(n, version=v)) for v in RISING for n in DETAINERS],
        "two": [events.message("issued", events.issued(n, version=v)) for v in FALLING for n in reversed(DETAINERS)],
    }
    await _write_at_once(connection, open_store, messages, len(DETAINERS))
    count = len(DETAINERS)
    assert await connection.fetchval("SELECT count(*) FROM ledger WHERE version = 9") == count
    assert await connection.fetchval("SELECT count(*) FROM history") == 8 * count
    assert await connection.fetchval("SELECT sum(duplicates) FROM partition_position") == count
    assert await connection.fetchval("SELECT n FROM weekly_counter") == count
