"""One conformance suite for every Kafka and every PostgreSQL that this machine can run: they are alike for us."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local import kafka_jars, parts
from deploy.local.databases import database_dsn, drop_database, ensure_database
from deploy.local.kafka_jars import console_consumer
from deploy.local.parts import KafkaPart, PostgresPart
from deploy.local.probes import kafka_answers, postgres_answers
from deploy.local.state import State

# What the project's command line does as far as `up` can see: commands that end, services that are ready.
COMMAND_LINE = """
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

if sys.argv[-1] == "serve":
    port = int(os.environ[f"DDOR_{sys.argv[1].upper()}_PORT"])
    HTTPServer((os.environ["DDOR_HOST"], port), Ready).serve_forever()
"""
KAFKAS = [source for source in parts.kafka_sources() if source.kind != "settings"]
POSTGRESES = [source for source in parts.postgres_sources() if source.kind != "settings"]


# Module scope: a Kafka takes seconds to start, and each test leaves it running.
@pytest.fixture(scope="module", params=KAFKAS, ids=lambda source: source.kind)
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaPart]:
    if lacking := request.param.missing():
        pytest.skip(" ".join(lacking))
    part: KafkaPart = request.param.build(tmp_path_factory.mktemp("kafka"), 0)
    part.start()
    try:
        yield part
    finally:
        part.destroy()
    assert not part.running()


@pytest.fixture(scope="module", params=POSTGRESES, ids=lambda source: source.kind)
def postgres(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresPart]:
    if lacking := request.param.missing():
        pytest.skip(" ".join(lacking))
    part: PostgresPart = request.param.build(tmp_path_factory.mktemp("postgres"), 0)
    part.start()
    try:
        yield part
    finally:
        part.destroy()
    assert not part.running()


async def test_what_is_produced_is_consumed(kafka: KafkaPart) -> None:
    await _create(kafka, "plain")
    await _produce(kafka, "plain", [b"a", b"b", b"c"])
    assert await _consume(kafka, "plain", 3) == [b"a", b"b", b"c"]


async def test_acknowledged_records_outlive_a_kill_and_the_address_stays(
    kafka: KafkaPart, request: pytest.FixtureRequest
) -> None:
    if kafka.kind == "embedded":
        _expect_failure(request, "it keeps records in memory and writes them out about once a second")
    await _create(kafka, "killed")
    address = kafka.bootstrap
    # What loses a second's records must be killed more than once to be found out for certain.
    for kills in range(1, 2 if kafka.real else 6):
        await _produce(kafka, "killed", [b"%d" % n for n in range(1000)])
        kafka.kill()
        assert not kafka.running()
        assert not kafka_answers(address)
        kafka.start()
        assert kafka.bootstrap == address
        assert await _end(kafka, "killed") == kills * 1000
    assert await _consume(kafka, "killed", 1000) == [b"%d" % n for n in range(1000)]


async def test_records_and_the_address_outlive_a_restart(kafka: KafkaPart) -> None:
    await _create(kafka, "restarted")
    address = kafka.bootstrap
    await _produce(kafka, "restarted", [b"before"])
    kafka.restart()
    assert kafka.bootstrap == address
    assert await _consume(kafka, "restarted", 1) == [b"before"]


async def test_only_what_a_transaction_committed_is_read(kafka: KafkaPart) -> None:
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


async def test_a_paused_kafka_does_not_answer_and_goes_on(kafka: KafkaPart) -> None:
    kafka.pause()
    try:
        assert kafka.running()
        assert not kafka_answers(kafka.bootstrap, timeout=0.5)
    finally:
        kafka.resume()
    assert await _soon(lambda: kafka_answers(kafka.bootstrap))


async def test_a_topic_that_nobody_created_is_not_created_by_asking(
    kafka: KafkaPart, request: pytest.FixtureRequest
) -> None:
    if kafka.kind == "embedded":
        _expect_failure(request, "it creates every topic that it is asked about")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.describe_topics(["never-created"])
        assert "never-created" not in await admin.list_topics()
    finally:
        await admin.close()


async def test_start_of_a_running_kafka_changes_nothing(kafka: KafkaPart) -> None:
    address, began = kafka.bootstrap, time.monotonic()
    kafka.start()
    assert kafka.bootstrap == address
    assert time.monotonic() - began < 2


async def test_kafkas_own_console_consumer_reads_a_topic(kafka: KafkaPart) -> None:
    if not kafka.real:
        pytest.skip("a stand-in is not asked to serve Kafka's own tools")
    if lacking := kafka_jars.missing():
        pytest.skip(" ".join(lacking))
    await _create(kafka, "console")
    await _produce(kafka, "console", [b"one", b"two"])
    command = console_consumer(kafka.bootstrap, "console", "--from-beginning", "--max-messages", "2")
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["one", "two"]


async def test_committed_rows_outlive_a_kill_and_the_address_stays(postgres: PostgresPart) -> None:
    dsn = ensure_database(postgres.dsn, "killed")
    async with _connection(dsn) as connection:
        await connection.execute("CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 1000)")
        postgres.kill()
        assert not postgres.running()
    postgres.start()
    assert database_dsn(postgres.dsn, "killed") == dsn
    async with _connection(dsn) as connection:
        assert await connection.fetchval("SELECT count(*) FROM t") == 1000


async def test_it_is_postgresql_18_and_as_durable_as_by_default(postgres: PostgresPart) -> None:
    async with _connection(postgres.dsn) as connection:
        assert connection.get_server_version().major == 18
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert await connection.fetchval("SELECT current_setting($1)", setting) == "on"
        assert await connection.fetchval("SELECT current_setting('server_encoding')") == "UTF8"


async def test_a_wrong_password_is_refused(postgres: PostgresPart) -> None:
    before, _, after = postgres.dsn.partition("@")
    assert not postgres_answers(f"{before}x@{after}")


async def test_databases_are_made_once_and_dropped(postgres: PostgresPart) -> None:
    dsn = ensure_database(postgres.dsn, "once")
    assert ensure_database(postgres.dsn, "once") == dsn
    assert postgres_answers(dsn)
    drop_database(postgres.dsn, "once")
    assert not postgres_answers(dsn)
    with pytest.raises(ValueError, match="plain"):
        ensure_database(postgres.dsn, 'a"; drop')


async def test_a_paused_postgresql_does_not_answer_and_goes_on(postgres: PostgresPart) -> None:
    async with _connection(postgres.dsn) as connection:
        postgres.pause()
        try:
            with pytest.raises(TimeoutError):
                await connection.fetchval("SELECT 1", timeout=0.5)
            assert not postgres_answers(postgres.dsn, timeout=0.5)
        finally:
            postgres.resume()
        assert await _soon(lambda: postgres_answers(postgres.dsn))


async def test_a_restarted_postgresql_has_the_same_address(postgres: PostgresPart) -> None:
    dsn = postgres.dsn
    postgres.restart()
    assert postgres.dsn == dsn
    assert postgres_answers(dsn)


def test_up_and_down_from_the_command_line(tmp_path: Path) -> None:
    """The background outlives the command that started it, and the next command finds it."""
    stand_in = tmp_path / "services" / "cli"
    stand_in.mkdir(parents=True)
    (stand_in / "main.py").write_text(COMMAND_LINE)
    state = State(tmp_path / ".local")

    def local(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "deploy.local", *words]
        # The directory comes first on the path of -m: the stand-in is taken for the project's command line.
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr

    try:
        code, said = local("up", "--kafka", "embedded", "--postgres", "native")
        assert (code, said.count("is ready at")) == (0, 3), said
        variables = state.read_env()
        assert kafka_answers(variables["DDOR_KAFKA_BOOTSTRAP"])
        assert postgres_answers(variables["DDOR_POSTGRES_DSN"])
        assert local("status")[0] == 0
        code, said = local("up")
        assert code == 0, said
        assert state.read_env() == variables
        code, said = local("up", "--kafka", "native")
        assert (code, "down --delete" in said) == (1, True), said
    finally:
        code, said = local("down", "--delete")
    assert code == 0, said
    assert not kafka_answers(variables["DDOR_KAFKA_BOOTSTRAP"])
    assert not state.directory.exists()
    assert local("down")[0] == 0


def _expect_failure(request: pytest.FixtureRequest, reason: str) -> None:
    """What a stand-in cannot do is said here; that it can after all fails the test."""
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
    """The first `count` values of the topic, and any that come in the half second after."""
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


@asynccontextmanager
async def _connection(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        connection.terminate()


async def _soon(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.1)
    return True
