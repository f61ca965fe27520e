"""One conformance suite for every Kafka that this machine can run."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local import kafka_jars, parts
from deploy.local.parts import KafkaPart
from deploy.local.probes import kafka_answers, wait_until
from tests.support.console_consumer import console_consumer
from tests.support.local_parts import started

# The other tests use the best available one.
KAFKAS = [
    pytest.param(
        provider,
        id=provider.source,
        marks=pytest.mark.long("a substitute on machines without Kafka") if provider.source == "embedded" else (),
    )
    for provider in parts.kafka_providers()
    if provider.source != "settings"
]


# Module scope: Kafka takes seconds to start, and each test leaves it running.
@pytest.fixture(scope="module", params=KAFKAS)
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaPart]:
    if lacking := request.param.missing():
        pytest.skip(" ".join(lacking))
    with started(request.param.build(tmp_path_factory.mktemp("kafka"), 0)) as part:
        yield part
    assert not part.running()


async def test_produced_records_are_consumed(kafka: KafkaPart) -> None:
    await _create(kafka, "plain")
    await _produce(kafka, "plain", [b"a", b"b", b"c"])
    assert await _consume(kafka, "plain", 3) == [b"a", b"b", b"c"]


async def test_acknowledged_records_and_the_address_survive_a_kill(
    kafka: KafkaPart, request: pytest.FixtureRequest
) -> None:
    if kafka.source == "embedded":
        _expect_failure(request, "it keeps records in memory and writes them out about once a second")
    await _create(kafka, "killed")
    address = kafka.bootstrap
    # Several kills, because the embedded broker loses records of the last second only sometimes.
    for kills in range(1, 6 if kafka.source == "embedded" else 2):
        await _produce(kafka, "killed", [b"%d" % n for n in range(1000)])
        kafka.kill()
        assert not kafka.running()
        assert not kafka_answers(address)
        kafka.start()
        assert kafka.bootstrap == address
        assert await _end(kafka, "killed") == kills * 1000
    assert await _consume(kafka, "killed", 1000) == [b"%d" % n for n in range(1000)]


async def test_records_and_the_address_survive_a_restart(kafka: KafkaPart) -> None:
    await _create(kafka, "restarted")
    address = kafka.bootstrap
    await _produce(kafka, "restarted", [b"before"])
    kafka.stop()
    kafka.start()
    assert kafka.bootstrap == address
    assert await _consume(kafka, "restarted", 1) == [b"before"]


async def test_only_committed_records_are_read(kafka: KafkaPart) -> None:
    await _create(kafka, "transactions")
    async with _producer(kafka, transactional_id="conformance") as producer:
        async with producer.transaction():
            await producer.send_and_wait("transactions", b"committed", partition=0)
        await producer.begin_transaction()
        await producer.send_and_wait("transactions", b"aborted", partition=0)
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait("transactions", b"last", partition=0)
    assert await _consume(kafka, "transactions", 2) == [b"committed", b"last"]


async def test_a_paused_kafka_does_not_respond_and_resumes(kafka: KafkaPart) -> None:
    kafka.pause()
    try:
        assert kafka.running()
        assert not kafka_answers(kafka.bootstrap, timeout=0.5)
    finally:
        kafka.resume()
    wait_until(lambda: kafka_answers(kafka.bootstrap), seconds=60, what="a resumed Kafka")


async def test_a_metadata_request_does_not_create_a_topic(kafka: KafkaPart, request: pytest.FixtureRequest) -> None:
    if kafka.source == "embedded":
        _expect_failure(request, "it creates every topic in a metadata request")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.describe_topics(["never-created"])
        assert "never-created" not in await admin.list_topics()
    finally:
        await admin.close()


async def test_start_of_a_running_kafka_changes_nothing(kafka: KafkaPart) -> None:
    host, _, port = (address := kafka.bootstrap).rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        kafka.start()
        assert kafka.bootstrap == address
        with pytest.raises(TimeoutError):  # the connection to a stopped server would be closed
            await asyncio.wait_for(reader.read(1), 0.5)
    finally:
        writer.close()


async def test_kafkas_own_console_consumer_reads_a_topic(kafka: KafkaPart) -> None:
    if kafka.source == "embedded":
        pytest.skip("a stand-in is not asked to serve Kafka's own tools")
    if lacking := kafka_jars.missing():
        pytest.skip(" ".join(lacking))
    await _create(kafka, "console")
    await _produce(kafka, "console", [b"one", b"two"])
    command = console_consumer(kafka.bootstrap, "console", "--from-beginning", "--max-messages", "2")
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["one", "two"]


def _expect_failure(request: pytest.FixtureRequest, reason: str) -> None:
    """Mark a known limitation of the embedded broker. If it passes, the test fails."""
    request.applymarker(pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason))


async def _create(kafka: KafkaPart, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


@asynccontextmanager
async def _producer(kafka: KafkaPart, transactional_id: str | None = None) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, enable_idempotence=True, transactional_id=transactional_id
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def _produce(kafka: KafkaPart, topic: str, values: list[bytes]) -> None:
    async with _producer(kafka) as producer:
        for future in [await producer.send(topic, value, partition=0) for value in values]:
            await future


async def _consume(kafka: KafkaPart, topic: str, count: int) -> list[bytes]:
    """The first `count` values of the topic, and any that arrive in the next half second."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        values: list[bytes] = []
        async with asyncio.timeout(20):
            while len(values) < count:
                values += await _batch(consumer)
        return values + await _batch(consumer)
    finally:
        await consumer.stop()


async def _end(kafka: KafkaPart, topic: str) -> int:
    """The next offset of the topic's only partition; 0 if the topic is gone."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap)
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        offsets: dict[TopicPartition, int] = await consumer.end_offsets([partition])
        return offsets[partition]
    finally:
        await consumer.stop()


async def _batch(consumer: AIOKafkaConsumer) -> list[bytes]:
    batches = await consumer.getmany(timeout_ms=500)
    return [record.value or b"" for records in batches.values() for record in records]
