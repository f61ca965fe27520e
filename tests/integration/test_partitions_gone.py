"""A topic that was grown, lost and recreated has fewer partitions than the database. All others are read."""

from __future__ import annotations

from functools import partial

import pytest

from deploy.local.parts import KafkaPart
from schemas.log import Partition, Vector
from schemas.topics import DETAINER_DECLINED, DETAINER_ISSUED
from services.aggregator import app
from tests.conftest import MakeSettings
from tests.support import commands, database_outcome, events, kafka_log, model
from tests.support.batches import accepted
from tests.support.in_process import is_ready, running
from tests.support.kafka_log import EVENT_PARTITIONS, Message
from tests.support.positions import Connection, halted, next_offsets
from tests.support.waiting import until

pytestmark = pytest.mark.real_kafka("has a fixed number of partitions")
GROWN = 15
ADDED = [Partition(DETAINER_ISSUED, number) for number in range(12, GROWN)]
GONE = "PositionLost: the topic has no such partition"


def _issued(partition: int, *numbers: int) -> list[Message]:
    messages = [events.message("issued", events.issued(number)) for number in numbers]
    return [Message(one.topic, one.value, one.key, partition) for one in messages]


def _declined(*numbers: int) -> list[Message]:
    return [events.message("declined", events.declined(number)) for number in numbers]


async def _ddor(settings: MakeSettings, *words: str, exit_code: int = 0) -> str:
    done = await commands.ddor(settings(), *words)
    assert done.exit_code == exit_code, done.output
    return done.output


async def _all_halted(connection: Connection) -> bool:
    return len(await halted(connection)) == len(ADDED)


async def test_missing_partitions_are_halted_until_they_exist_again_and_all_others_are_read(
    store_settings: MakeSettings, connection: Connection, own_kafka: KafkaPart
) -> None:
    bootstrap = own_kafka.bootstrap
    settings = partial(store_settings, kafka_bootstrap=bootstrap, kafka_replication=1, worker="one")
    await _ddor(settings, "topics", "grow", DETAINER_ISSUED, str(GROWN))
    first = [*_issued(12, 1, 2), *_declined(1, 2, 3)]
    await kafka_log.append(bootstrap, first)
    async with running(app.create(settings())):
        await kafka_log.counted(connection, bootstrap, partitions=EVENT_PARTITIONS + ADDED)
    await kafka_log.recreate(bootstrap, DETAINER_ISSUED)
    second = [*_issued(0, 3), *_issued(11, 4), *_declined(4, 5)]
    await kafka_log.append(bootstrap, second)
    async with running(app.create(settings())) as client:
        await until(partial(_all_halted, connection), "missing partitions halted")
        await kafka_log.append(bootstrap, third := _declined(6))

        async def others_counted() -> bool:
            ends = await kafka_log.ends(bootstrap)
            at = await next_offsets(connection)
            return Vector({one: at[one] for one in ends}) == ends

        await until(others_counted, "all others read to the end")
        assert await halted(connection) == dict.fromkeys(ADDED, GONE)
        assert await is_ready(client)

        async def alert_is_on() -> bool:
            return f"ddor_aggregator_unread_partitions {float(len(ADDED))}" in (await client.get("/metrics")).text

        await until(alert_is_on, "the metric to count the unread partitions")
        assert f"detainer-issued/12: {GONE}" in await _ddor(settings, "status", exit_code=1)

        await _ddor(settings, "resume", "detainer-issued/13", "--by", "Ada")
        await until(lambda: _resumed(connection), "resumed")
        await until(partial(_all_halted, connection), "halted again while missing")

        await _ddor(settings, "topics", "grow", DETAINER_ISSUED, str(GROWN))
        for partition in ADDED:
            await _ddor(settings, "resume", str(partition), "--by", "Ada", "--at", "0")
        await kafka_log.append(bootstrap, fourth := [*_issued(12, 5), *_issued(14, 6)])
        await kafka_log.counted(connection, bootstrap, partitions=EVENT_PARTITIONS + ADDED)
        assert await halted(connection) == {}
    every = accepted([*first, *second, *third, *fourth])
    assert await database_outcome.outcome(connection) == model.outcome(every)
    assert {one.topic for one in await next_offsets(connection)} >= {DETAINER_ISSUED, DETAINER_DECLINED}


async def _resumed(connection: Connection) -> bool:
    return Partition(DETAINER_ISSUED, 13) not in await halted(connection)
