"""The aggregator on a real log: counting, restarting, sharing."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.parts import KafkaPart
from schemas.topics import EVENT_TOPICS
from services.aggregator import app
from services.aggregator.lag import GROUP
from tests.conftest import MakeSettings
from tests.support import database_outcome, events, kafka_log, model
from tests.support.batches import accepted
from tests.support.in_process import is_ready, running
from tests.support.positions import Connection, accounts, next_offsets, owners
from tests.support.waiting import until


async def test_events_on_the_log_are_counted(settings: MakeSettings, connection: Connection, kafka: KafkaPart) -> None:
    told = events.mixed(range(120))
    async with running(app.create(settings(worker="one"))) as client:
        await until(lambda: is_ready(client), "the aggregator ready")
        await kafka_log.append(kafka.bootstrap, told)
        await kafka_log.counted(connection, kafka.bootstrap)
    assert await database_outcome.outcome(connection) == model.outcome(accepted(told))
    for account in (await accounts(connection)).values():
        assert account["records"] == account["facts"] + account["duplicates"]
    assert set((await owners(connection)).values()) == {None}, "an orderly end gives the leases back"


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_events_in_compressed_batches_are_counted(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart, codec: str
) -> None:
    told = events.mixed(range(120))
    async with running(app.create(settings(worker="one"))):
        async with kafka_log.producer(kafka.bootstrap, compression_type=codec, linger_ms=50) as producer:
            await kafka_log.send(producer, told)
        await kafka_log.counted(connection, kafka.bootstrap)
    assert await database_outcome.outcome(connection) == model.outcome(accepted(told))
    assert await _records(connection, len(told)) == len(told)


async def test_a_restart_goes_on_exactly_where_it_was(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    told = [events.mixed(range(first, first + 40)) for first in (0, 20, 50)]
    for part in told:
        await kafka_log.append(kafka.bootstrap, part[::2])
        async with running(app.create(settings(worker="one"))):
            await kafka_log.append(kafka.bootstrap, part[1::2])
            await kafka_log.counted(connection, kafka.bootstrap)
    every = [one for part in told for one in part]
    assert await database_outcome.outcome(connection) == model.outcome(accepted(every))
    assert sum(account["records"] for account in (await accounts(connection)).values()) == len(every)


async def test_a_restart_in_the_middle_loses_and_repeats_nothing(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    """Ended several times while records stream in, wherever that happens to be."""
    told = events.mixed(range(400))

    async def stream() -> None:
        async with kafka_log.producer(kafka.bootstrap) as producer:
            for start in range(0, len(told), 40):
                await kafka_log.send(producer, told[start : start + 40])

    streaming = asyncio.create_task(stream())
    for least in (1, len(told) // 2):
        async with running(app.create(settings(worker="one"))) as client:
            await until(lambda: is_ready(client), "the aggregator ready")
            await until(partial(_records, connection, least), f"{least} records counted")
    await streaming
    async with running(app.create(settings(worker="one"))) as client:
        await until(lambda: is_ready(client), "the aggregator ready")
        await kafka_log.counted(connection, kafka.bootstrap)
    assert await database_outcome.outcome(connection) == model.outcome(accepted(told))
    assert await _records(connection, len(told)) == len(told)


async def test_two_workers_share_the_partitions_and_the_sums_are_exact(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    told = events.mixed(range(600))
    third = len(told) // 3
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(app.create(settings(worker="one"))))
        await kafka_log.append(kafka.bootstrap, told[:third])
        async with running(app.create(settings(worker="two"))):
            writing = asyncio.create_task(kafka_log.append(kafka.bootstrap, told[third : 2 * third]))
            await until(lambda: _shared(connection), "a fair share each")
            await writing
            await kafka_log.counted(connection, kafka.bootstrap)
        await kafka_log.append(kafka.bootstrap, told[2 * third :])
        await kafka_log.counted(connection, kafka.bootstrap)
    assert await database_outcome.outcome(connection) == model.outcome(accepted(told))
    assert await _records(connection, len(told)) == len(told)


async def test_positions_are_shown_in_a_consumer_group_for_lag_tools(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    places = [TopicPartition(topic.name, n) for topic in EVENT_TOPICS for n in range(topic.partitions)]
    await kafka_log.append(kafka.bootstrap, events.mixed(range(30)))
    async with running(app.create(settings(worker="one"))) as client:
        await kafka_log.counted(connection, kafka.bootstrap)
        positions = await next_offsets(connection)
        looking = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=GROUP, enable_auto_commit=False)
        looking.assign(places)
        await looking.start()
        try:

            async def shown() -> bool:
                committed = {(tp.topic, tp.partition): await looking.committed(tp) for tp in places}
                return committed == positions

            await until(shown, "the positions committed under the group")
        finally:
            await looking.stop()
        lag = (await client.get("/metrics")).text
        assert 'ddor_aggregator_lag_records{partition="0",topic="detainer-issued"} 0.0' in lag


async def _records(connection: Connection, least: int) -> int:
    """How many records have been counted, or 0 while fewer than `least`."""
    found = int(await connection.fetchval("SELECT COALESCE(sum(records), 0) FROM partition_position"))
    return found if found >= least else 0


async def _shared(connection: Connection) -> bool:
    return Counter((await owners(connection)).values()) == {"one": 13, "two": 12}
