"""The aggregator on a real log: counting, restarting, sharing."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.parts import KafkaPart
from schemas.log import Partition, Vector
from schemas.topics import EVENT_TOPICS
from services.aggregator import app
from services.runtime.kafka_rights import GROUP
from tests.conftest import MakeSettings
from tests.support import database_outcome, events, kafka_log, model
from tests.support.batches import accepted
from tests.support.in_process import is_ready, running
from tests.support.positions import Connection, accounts, next_offsets, owners
from tests.support.waiting import until


async def test_events_on_the_log_are_counted(settings: MakeSettings, connection: Connection, kafka: KafkaPart) -> None:
    messages = events.mixed(range(120))
    async with running(app.create(settings(worker="one"))) as client:
        await until(lambda: is_ready(client), "the aggregator ready")
        await kafka_log.append(kafka.bootstrap, messages)
        await kafka_log.counted(connection, kafka.bootstrap)
    assert await database_outcome.outcome(connection) == model.outcome(accepted(messages))
    for account in (await accounts(connection)).values():
        assert account["records"] == account["facts"] + account["duplicates"]
    assert set((await owners(connection)).values()) == {None}, "an orderly stop releases the leases"


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_events_in_compressed_batches_are_counted(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart, codec: str
) -> None:
    messages = events.mixed(range(120))
    async with running(app.create(settings(worker="one"))):
        async with kafka_log.producer(kafka.bootstrap, compression_type=codec, linger_ms=50) as producer:
            await kafka_log.send(producer, messages)
        await kafka_log.counted(connection, kafka.bootstrap)
    assert await database_outcome.outcome(connection) == model.outcome(accepted(messages))
    assert await _records(connection, len(messages)) == len(messages)


async def test_a_restart_resumes_at_the_stored_positions(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    messages = [events.mixed(range(first, first + 40)) for first in (0, 20, 50)]
    for part in messages:
        await kafka_log.append(kafka.bootstrap, part[::2])
        async with running(app.create(settings(worker="one"))):
            await kafka_log.append(kafka.bootstrap, part[1::2])
            await kafka_log.counted(connection, kafka.bootstrap)
    every = [one for part in messages for one in part]
    assert await database_outcome.outcome(connection) == model.outcome(accepted(every))
    assert sum(account["records"] for account in (await accounts(connection)).values()) == len(every)


async def test_a_restart_in_the_middle_loses_and_repeats_nothing(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    """The aggregator is stopped several times, at arbitrary points, while records arrive."""
    messages = events.mixed(range(400))

    async def stream() -> None:
        async with kafka_log.producer(kafka.bootstrap) as producer:
            for start in range(0, len(messages), 40):
                await kafka_log.send(producer, messages[start : start + 40])

    streaming = asyncio.create_task(stream())
    for least in (1, len(messages) // 2):
        async with running(app.create(settings(worker="one"))) as client:
            await until(lambda: is_ready(client), "the aggregator ready")
            await until(partial(_records, connection, least), f"{least} records counted")
    await streaming
    async with running(app.create(settings(worker="one"))) as client:
        await until(lambda: is_ready(client), "the aggregator ready")
        await kafka_log.counted(connection, kafka.bootstrap)
    assert await database_outcome.outcome(connection) == model.outcome(accepted(messages))
    assert await _records(connection, len(messages)) == len(messages)


async def test_two_workers_share_the_partitions_and_the_sums_are_exact(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    messages = events.mixed(range(600))
    third = len(messages) // 3
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(app.create(settings(worker="one"))))
        await kafka_log.append(kafka.bootstrap, messages[:third])
        async with running(app.create(settings(worker="two"))):
            writing = asyncio.create_task(kafka_log.append(kafka.bootstrap, messages[third : 2 * third]))
            await until(lambda: _shared(connection), "fair shares")
            await writing
            await kafka_log.counted(connection, kafka.bootstrap)
        await kafka_log.append(kafka.bootstrap, messages[2 * third :])
        await kafka_log.counted(connection, kafka.bootstrap)
    assert await database_outcome.outcome(connection) == model.outcome(accepted(messages))
    assert await _records(connection, len(messages)) == len(messages)


async def test_positions_are_committed_to_a_consumer_group_for_lag_tools(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    partitions = [TopicPartition(topic.name, n) for topic in EVENT_TOPICS for n in range(topic.partitions)]
    await kafka_log.append(kafka.bootstrap, events.mixed(range(30)))
    async with running(app.create(settings(worker="one"))) as client:
        await kafka_log.counted(connection, kafka.bootstrap)
        positions = await next_offsets(connection)
        looking = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=GROUP, enable_auto_commit=False)
        looking.assign(partitions)
        await looking.start()
        try:

            async def shown() -> bool:
                committed = {Partition(*tp): await looking.committed(tp) for tp in partitions}
                return Vector(committed) == positions

            await until(shown, "the positions committed to the group")
        finally:
            await looking.stop()
        lag = (await client.get("/metrics")).text
        assert 'ddor_aggregator_lag_records{partition="0",topic="detainer-issued"} 0.0' in lag


async def _records(connection: Connection, least: int) -> int:
    """The number of counted records, or 0 while it is below `least`."""
    found = int(await connection.fetchval("SELECT COALESCE(sum(records), 0) FROM partition_position"))
    return found if found >= least else 0


async def _shared(connection: Connection) -> bool:
    return Counter((await owners(connection)).values()) == {"one": 13, "two": 12}
