"""A transaction left open by its producer: the services that wait, the reports, and the tool that aborts it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer
from prometheus_client import REGISTRY

from deploy.local import kafka_jars
from deploy.local.parts import KafkaPart
from schemas.log import Partition
from schemas.topics import DETAINER_ISSUED, REPORT_READY
from schemas.week import ReportingWeek
from services.aggregator import app, open_transactions
from services.publisher import committed_records, recovery
from services.publisher.queries import SQL
from services.runtime.kafka import stop_producer
from services.runtime.settings import Settings
from services.runtime.transactions import OpenTransactionError
from tests.conftest import MakeSettings
from tests.support import events, kafka_log
from tests.support.commands import ddor
from tests.support.in_process import is_ready, running
from tests.support.kafka_log import Message
from tests.support.life import Life, detainer, living
from tests.support.positions import Connection, next_offsets
from tests.support.publishing import client, new_week, relaying
from tests.support.waiting import until

_STRANGER = "a-strangers"
with_the_tool = pytest.mark.real_kafka("reports no transaction to kafka-transactions.sh")


@asynccontextmanager
async def _left_open(bootstrap: str, message: Message) -> AsyncIterator[int]:
    """Leave a transaction with one record open; return the offset of the record."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=_STRANGER, transaction_timeout_ms=600_000)
    try:
        await producer.start()
        await producer.begin_transaction()
        [(_, _, offset)] = await kafka_log.send(producer, [message])
        yield offset
    finally:
        await stop_producer(producer, 0.1)  # producer.stop() would end the transaction


async def _tool(bootstrap: str, *arguments: str) -> str:
    """Run kafka-transactions.sh, as described in the runbook."""
    command = kafka_jars.java_command(
        "org.apache.kafka.tools.TransactionsCommand", "--bootstrap-server", bootstrap, *arguments, log_level="ERROR"
    )
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def _abort(topic: str, partition: int, offset: int) -> list[str]:
    return ["abort", "--topic", topic, "--partition", str(partition), "--start-offset", str(offset)]


def _metric(name: str, topic: str, partition: int) -> float | None:
    return REGISTRY.get_sample_value(name, {"topic": topic, "partition": str(partition)})


@with_the_tool
@pytest.mark.skipif(bool(kafka_jars.missing()), reason="kafka-transactions.sh needs Java 17 and Kafka's jars")
async def test_an_open_transaction_is_reported_with_partition_and_offset_until_it_is_aborted(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_transactions, "_BLOCKED_SECONDS", 1.0)
    first, second = (events.message("issued", events.issued(number)) for number in (90_001, 90_002))
    where = first.target.number
    async with (
        _left_open(kafka.bootstrap, first) as offset,
        running(app.create(settings(worker="one"))) as http,
    ):
        await until(lambda: is_ready(http), "the aggregator ready, because other partitions are read")
        [(_, _, last)] = await kafka_log.append(kafka.bootstrap, [Message(second.topic, second.value, partition=where)])
        barrier = {DETAINER_ISSUED: {str(where): last + 1}}
        await connection.execute("INSERT INTO week_close VALUES ('2017-01-28', 'draining', $1)", barrier)

        async def shown() -> bool:
            return _metric("ddor_aggregator_open_transaction_offset", DETAINER_ISSUED, where) == offset

        await until(shown, "the metric to show the transaction")
        assert _metric("ddor_aggregator_lag_records", DETAINER_ISSUED, where) == last + 1 - offset
        sentence = f"an open transaction blocks detainer-issued/{where} since offset {offset}"
        table = (await ddor(settings(), "status")).out
        assert table.count(sentence) == 2, table
        assert f"2017-01-28: draining; {sentence}" in table
        status = json.loads((await ddor(settings(), "status", "--json")).out)
        held = [one for one in status["partitions"] if one["open_transaction_since"] is not None]
        assert [(one["partition"], one["open_transaction_since"], one["lag"]) for one in held] == [
            (where, offset, last + 1 - offset)
        ]
        assert status["weeks"][0]["waits_for"][0] == sentence
        described = await _tool(
            kafka.bootstrap, "describe-producers", "--topic", DETAINER_ISSUED, "--partition", str(where)
        )
        assert str(offset) in described, "the runbook finds the producer by this offset"
        await _tool(kafka.bootstrap, *_abort(DETAINER_ISSUED, where, offset))

        async def counted() -> bool:
            return (await next_offsets(connection))[Partition(DETAINER_ISSUED, where)] > last

        await until(counted, "later records counted")

        async def gone() -> bool:
            return _metric("ddor_aggregator_open_transaction_offset", DETAINER_ISSUED, where) is None

        await until(gone, "the metric removed")
    assert await connection.fetchval("SELECT count(*) FROM ledger_entry") == 1, "aborted records do not count"
    after = (await ddor(settings(), "status")).out
    assert "an open transaction" not in after


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
async def life(store_settings: MakeSettings, own_kafka: KafkaPart, week: ReportingWeek) -> AsyncIterator[Life]:
    settings: Settings = store_settings(kafka_bootstrap=own_kafka.bootstrap, first_week=week.first)
    async with kafka_log.connected(settings) as connection:
        await kafka_log.begin_at_the_ends(connection, own_kafka.bootstrap)
    async with living(settings, week) as life:
        yield life


@with_the_tool
@pytest.mark.skipif(bool(kafka_jars.missing()), reason="kafka-transactions.sh needs Java 17 and Kafka's jars")
async def test_a_relay_does_not_resend_messages_hidden_by_an_open_transaction(
    life: Life, own_kafka: KafkaPart, week: ReportingWeek, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committed_records, "TIMEOUT_SECONDS", 0.5)
    await life.write(detainer("declined", 1, week))
    await life.close(week)
    async with (
        relaying(life.settings, life.connection, week.ends_at) as killed_before_it_marks,
        _left_open(own_kafka.bootstrap, Message(REPORT_READY, b"hello", partition=0)) as offset,
    ):
        await killed_before_it_marks.send(await life.connection.fetch(SQL["unsent"]))
    named = f"an open transaction blocks report-ready/0 since offset {offset}"
    with pytest.raises(OpenTransactionError, match=named):
        await life.send()
    with pytest.raises(OpenTransactionError, match=named):
        await recovery.check(life.connection, client(life.settings))
    done = await ddor(life.settings, "recover", "--by", "Ada")
    assert (done.exit_code, named in done.output) == (2, True), done.output
    await _tool(own_kafka.bootstrap, "forceTerminateTransaction", "--transactionalId", _STRANGER)
    await life.send()
    assert [str(one) for one in await life.announced()] == [f"{week}@1"], "announced once"
    assert await life.state(week) == "published"


async def test_a_reader_waits_for_a_transaction_that_ends_in_time(
    life: Life, own_kafka: KafkaPart, week: ReportingWeek
) -> None:
    """`ddor verify` may begin to read while the relay is about to commit."""
    await life.write(detainer("declined", 2, week))
    await life.close(week)
    async with relaying(life.settings, life.connection, week.ends_at) as relay:
        await relay._producer.begin_transaction()
        [row] = await life.connection.fetch(SQL["unsent"] + " OFFSET 1")
        await (await relay._producer.send(REPORT_READY, row["value"], row["key"], partition=0))
        reading = asyncio.ensure_future(life.announced())
        await asyncio.sleep(0.3)  # nothing else shows that the reader waits
        assert not reading.done()
        await relay._producer.commit_transaction()
        assert [str(one) for one in await reading] == [f"{week}@1"]
