"""Positions and the log: gaps without records, and a log that was replaced."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from deploy.local.parts import KafkaPart
from schemas.log import Partition
from schemas.topics import DETAINER_DECLINED, DETAINER_ISSUED
from services.aggregator import app
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import database_outcome, events, kafka_log, model
from tests.support.batches import accepted
from tests.support.commands import ddor
from tests.support.in_process import is_ready, running
from tests.support.kafka_log import Message
from tests.support.positions import Connection, halted, next_offsets
from tests.support.publishing import new_week, publishing
from tests.support.waiting import until

_PAGE = Path(__file__).parents[2] / "docs" / "runbooks" / "position-lost.md"
ISSUED, DECLINED = DETAINER_ISSUED, DETAINER_DECLINED


def _at(partition: int, numbers: Sequence[int], kind: str = "issued") -> list[Message]:
    make = events.issued if kind == "issued" else events.declined
    messages = [events.message(kind, make(number)) for number in numbers]
    return [Message(one.topic, one.value, one.key, partition) for one in messages]


async def test_a_position_moves_over_an_aborted_transaction_to_the_end_of_the_log(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    committed, aborted, last = _at(0, [1, 2]), _at(0, [3, 4]), _at(1, [5])
    async with running(app.create(settings(worker="one"))) as client:
        await until(lambda: is_ready(client), "the aggregator ready")
        async with kafka_log.producer(kafka.bootstrap, transactional_id="a-test") as producer:
            async with producer.transaction():
                await kafka_log.send(producer, committed)
            await producer.begin_transaction()
            await kafka_log.send(producer, aborted)
            await producer.abort_transaction()
            async with producer.transaction():
                await kafka_log.send(producer, last)
        # The log of partition 0 ends with an aborted transaction and markers: Kafka delivers no record from there.
        await kafka_log.counted(connection, kafka.bootstrap)
        await kafka_log.append(kafka.bootstrap, _at(0, [6]))
        await kafka_log.counted(connection, kafka.bootstrap)
    assert await database_outcome.outcome(connection) == model.outcome(accepted([*committed, *last, *_at(0, [6])]))
    assert await connection.fetchval("SELECT sum(records) FROM partition_position") == 4
    assert await connection.fetchval("SELECT count(*) FROM partition_position WHERE halted_reason IS NOT NULL") == 0


@pytest.mark.real_kafka("hides committed records after an aborted transaction from a reader that starts there")
async def test_a_restart_resumes_correctly_before_between_and_after_markers(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    messages: list[Message] = []
    for number in range(0, 9, 3):
        async with kafka_log.producer(kafka.bootstrap, transactional_id="a-test") as producer:
            async with producer.transaction():
                await kafka_log.send(producer, _at(2, [number]))
            await producer.begin_transaction()
            await kafka_log.send(producer, _at(2, [number + 1]))
            await producer.abort_transaction()
        messages += _at(2, [number])
        async with running(app.create(settings(worker="one"))):
            await kafka_log.counted(connection, kafka.bootstrap)
    assert await database_outcome.outcome(connection) == model.outcome(accepted(messages))


async def test_a_week_closes_although_the_log_ends_with_gaps(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    """The barrier is an end offset. The last offsets may be markers and aborted records, which are not delivered."""
    week = new_week()
    chosen = settings(worker="one", first_week=week.first)
    at = (week.begins_at + timedelta(days=2)).isoformat()
    committed, aborted = (
        Message(ISSUED, events.message("issued", events.issued(n, issued_at=at)).value, partition=9) for n in (1, 2)
    )
    async with kafka_log.producer(kafka.bootstrap, transactional_id="a-test") as producer:
        async with producer.transaction():
            await kafka_log.send(producer, [committed])
        await producer.begin_transaction()
        await kafka_log.send(producer, [aborted])
        await producer.abort_transaction()
    async with publishing(chosen, week.ends_at + timedelta(hours=25)) as publisher:
        await publisher.steps()
        barrier = await connection.fetchval("SELECT barrier FROM week_close WHERE state = 'draining'")
        assert barrier[ISSUED]["9"] == (await kafka_log.ends(kafka.bootstrap))[Partition(ISSUED, 9)]
        async with running(app.create(chosen)):
            await kafka_log.counted(connection, kafka.bootstrap)
        await publisher.steps()
    (report,) = await connection.fetch("SELECT figures FROM report")
    assert report["figures"]["totals"]["issued"] == 1


class TestPositionLost:
    """The log was replaced: the partition is halted with a reason, and the others continue."""

    pytestmark = pytest.mark.real_kafka("recreates a deleted topic on a metadata request")

    async def test_a_topic_recreated_and_refilled_beyond_the_position_halts(
        self, own_settings: MakeSettings, connection: Connection, own_kafka: KafkaPart
    ) -> None:
        """Only the digest of the last record shows it: the new log has a record at the same offset."""
        first = [*_at(3, range(5)), *_at(4, range(10, 13)), *_at(3, range(3), "declined")]
        await kafka_log.append(own_kafka.bootstrap, first)
        async with running(app.create(own_settings(worker="one"))):
            await kafka_log.counted(connection, own_kafka.bootstrap)
        before = await next_offsets(connection)

        await kafka_log.recreate(own_kafka.bootstrap, ISSUED)
        again = [*_at(3, range(100, 109)), *_at(4, range(10, 15)), *_at(5, [50])]
        await kafka_log.append(own_kafka.bootstrap, again)
        more = _at(3, [7], "declined")
        await kafka_log.append(own_kafka.bootstrap, more)
        for _ in range(2):  # a restart does not end the halt
            async with running(app.create(own_settings(worker="one"))) as client:
                await until(partial(is_ready, client), "the aggregator ready")
                await until(lambda: _position(connection, Partition(ISSUED, 5), 1), "the new partition counted")
                await until(lambda: _position(connection, Partition(ISSUED, 4), 5), "the same records counted")
                await until(lambda: _position(connection, Partition(DECLINED, 3), 4), "the other topic counted")
                assert list((await halted(connection)).items()) == [
                    (Partition(ISSUED, 3), "PositionLost: the record at offset 4 has changed; the topic was recreated")
                ]
        assert (await next_offsets(connection))[Partition(ISSUED, 3)] == before[Partition(ISSUED, 3)]
        counted = [*first, *again[-6:], *more]
        assert await database_outcome.outcome(connection) == model.outcome(accepted(counted))

    async def test_a_log_that_ends_before_the_position_halts(
        self, own_settings: MakeSettings, connection: Connection, own_kafka: KafkaPart
    ) -> None:
        start = await kafka_log.ends(own_kafka.bootstrap)
        await kafka_log.append(own_kafka.bootstrap, _at(0, range(200, 206), "declined"))
        async with running(app.create(own_settings(worker="one"))):
            await kafka_log.counted(connection, own_kafka.bootstrap)
        await kafka_log.recreate(own_kafka.bootstrap, DECLINED)
        await kafka_log.append(own_kafka.bootstrap, _at(0, range(300, 302), "declined"))
        async with running(app.create(own_settings(worker="one"))):
            await until(lambda: halted(connection), "a halt")
        end = start[Partition(DECLINED, 0)] + 6
        assert (await halted(connection))[Partition(DECLINED, 0)] == (
            f"PositionLost: the log ends at offset 2, below the position {end}; records are missing"
        )

    async def test_the_commands_of_the_runbook_resume_the_partition_at_an_offset(
        self, own_settings: MakeSettings, connection: Connection, own_kafka: KafkaPart
    ) -> None:
        """Resumed without an offset, the partition is checked and halted again. With an offset, the new log is read."""
        commands = re.findall(r"ddor (resume .+)$", _PAGE.read_text(encoding="utf-8"), re.MULTILINE)
        assert [command.partition(" --by a.smith")[2] for command in commands] == ["", " --at 0"]
        lost = Partition(DECLINED, 0)
        start = await kafka_log.ends(own_kafka.bootstrap)
        first = _at(0, range(600, 610), "declined")
        await kafka_log.append(own_kafka.bootstrap, first)
        async with running(app.create(own_settings(worker="one"))):
            await kafka_log.counted(connection, own_kafka.bootstrap)
        await kafka_log.recreate(own_kafka.bootstrap, DECLINED)
        again = _at(0, range(605, 612), "declined")
        await kafka_log.append(own_kafka.bootstrap, again)
        async with running(app.create(own_settings(worker="one"))):
            for command in commands:
                await until(lambda: _is_halted(connection, lost), "the partition halted")
                done = await ddor(own_settings(), *command.split())
                assert (done.exit_code, f"{DECLINED}/0: resumed at offset" in done.out) == (0, True), done
            await until(lambda: _position(connection, lost, len(again)), "the new log counted")
        assert await database_outcome.outcome(connection) == model.outcome(accepted([*first, *again]))
        actions = [row["detail"] for row in await connection.fetch("SELECT detail FROM operator_action ORDER BY id")]
        at = start[lost] + len(first)
        assert [(one["from"], one["at"]) for one in actions] == [(at, at), (at, 0)]

    async def test_a_log_that_loses_its_end_under_a_running_worker_halts(
        self, own_settings: MakeSettings, connection: Connection, own_kafka: KafkaPart
    ) -> None:
        """By itself, the consumer would silently continue at the log's end."""
        await kafka_log.append(own_kafka.bootstrap, _at(6, range(400, 420)))
        async with running(app.create(own_settings(worker="one"))) as client:
            await until(lambda: is_ready(client), "the aggregator ready")
            await kafka_log.counted(connection, own_kafka.bootstrap)
            await kafka_log.recreate(own_kafka.bootstrap, ISSUED)
            await kafka_log.append(own_kafka.bootstrap, _at(6, range(500, 505)))
            await until(lambda: _is_halted(connection, Partition(ISSUED, 6)), "the partition halted")
            assert "below the position" in (await halted(connection))[Partition(ISSUED, 6)]


@pytest.fixture
async def own_settings(store_settings: MakeSettings, own_kafka: KafkaPart) -> MakeSettings:
    """Settings on the module's own Kafka, positions at its ends."""

    def make(**changes: object) -> Settings:
        return store_settings(**{"kafka_bootstrap": own_kafka.bootstrap, "kafka_replication": 1, **changes})

    async with kafka_log.connected(store_settings()) as looking:
        await kafka_log.begin_at_the_ends(looking, own_kafka.bootstrap)
    return make


async def _is_halted(connection: Connection, partition: Partition) -> bool:
    return partition in await halted(connection)


async def _position(connection: Connection, partition: Partition, at: int) -> bool:
    return (await next_offsets(connection))[partition] == at
