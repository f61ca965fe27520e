"""The rights of `services/runtime/kafka_rights.py` are the least: without any of them, a part of a service fails.

The checks of `kafka_access`, which fail by construction, are switched off here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError

from schemas.log import Partition, RecordAddress, Vector
from schemas.topics import DETAINER_ISSUED, REPORT_READY, TOPICS
from services.aggregator.lag import LagReporter
from services.aggregator.log_inspector import LogInspector
from services.cli import acls
from services.cli.acls import RIGHTS, Acl
from services.publisher import kafka_time
from services.publisher.committed_records import read_committed
from services.publisher.end_offsets import EndOffsets
from services.publisher.kafka_time import KafkaTimeUnavailableError
from services.runtime import kafka, log_range
from services.runtime.errors import ConfigurationError
from services.runtime.kafka_rights import (
    COMMIT,
    DESCRIBE_EVENTS,
    GROUP,
    INGEST,
    READ_EVENTS,
    RELAY,
    SEND,
    TIME,
    TRANSACTIONAL_ID,
    VERIFY,
    MissingRightError,
    Operation,
    Resource,
    Right,
)
from services.runtime.settings import Settings
from tests.support import kafka_log
from tests.support.authorizing import AuthorizingKafka, authorizing, grant, revoke
from tests.support.kafka_log import Message

Client = Mapping[str, Any]
Work = Callable[[Client], Awaitable[object]]
_SERVICES = ("ingest", "aggregator", "publisher")
_SECONDS = 60
_DENIALS = (KafkaError, KafkaTimeUnavailableError, MissingRightError, TimeoutError)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizingKafka]:
    """Each topic has a record, and each service its rights."""

    async def prepare(one: AuthorizingKafka) -> None:
        async with kafka_log.admin(one.part.bootstrap) as admin:
            await kafka_log.create_topics(admin, [topic.name for topic in TOPICS])
        await kafka_log.append(one.part.bootstrap, [Message(topic.name, b"1", b"key", 0) for topic in TOPICS])
        await grant(one, *acls.required({name: f"User:{name}" for name in RIGHTS}))

    with authorizing(tmp_path_factory.mktemp("kafka"), RIGHTS) as one:
        kafka_log.in_a_loop_of_its_own(prepare(one))
        yield one


def _client(broker: AuthorizingKafka, user: str) -> Client:
    return kafka.client(Settings(**broker.settings(user)), f"test-{user}")


@asynccontextmanager
async def _producing(client: Client, **more: Any) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(**client, acks="all", **more)
    try:
        await kafka.start(producer.start)
        yield producer
    finally:
        await kafka.stop_producer(producer, 1)


@asynccontextmanager
async def _consuming(client: Client) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(**client, isolation_level="read_committed", enable_auto_commit=False)
    try:
        await kafka.start(consumer.start)
        yield consumer
    finally:
        await kafka.stop(consumer)


async def _store(client: Client, topic: str) -> None:
    """As ingest does."""
    async with _producing(client, enable_idempotence=True) as producer:
        await producer.send_and_wait(topic, b"2", partition=0)


async def _count(client: Client, topic: str) -> None:
    log = LogInspector(client)
    try:
        await log.start()
        assert (await log.record(RecordAddress(Partition(topic, 0), 0)))[0]
    finally:
        await log.stop()


async def _commit(client: Client) -> None:
    lag, at = LagReporter(client, [Partition(DETAINER_ISSUED, 0)]), Vector({Partition(DETAINER_ISSUED, 0): 1})
    try:
        await lag.start()
        await lag.report(at, at, at)
        if lag.problem is not None:
            assert str(COMMIT) in lag.problem
            raise GroupAuthorizationFailedError(GROUP)
    finally:
        await lag.stop()


async def _relay(client: Client, topic: str) -> None:
    async with _producing(client, transactional_id=TRANSACTIONAL_ID) as producer:
        await producer.begin_transaction()
        sent = await producer.send(topic, b"2", b"key", partition=0)
        await asyncio.wait([sent])
        sent.result()
        await producer.commit_transaction()


async def _look_back(client: Client, topic: str) -> None:
    assert 0 in [record.offset async for record in read_committed(client, topic)]


async def _verify(client: Client, topic: str) -> None:
    tp = TopicPartition(topic, 0)
    async with _consuming(client) as consumer:
        await consumer.beginning_offsets([tp])
        consumer.assign([tp])
        consumer.seek(tp, 0)
        assert [part async for part in log_range.read(consumer, {tp: 0}, {tp: 1}, 10)]


async def _ends(client: Client) -> None:
    ends = EndOffsets(client)
    try:
        await ends.start()
        await ends.read()
    finally:
        await ends.stop()


async def _time(client: Client) -> None:
    async with _consuming(client) as consumer:
        await kafka_time.time_of(consumer)


_WORK: Mapping[tuple[str, Right], Work] = {
    **{("ingest", right): partial(_store, topic=right.name) for right in INGEST},
    **{("aggregator", right): partial(_count, topic=right.name) for right in READ_EVENTS},
    ("aggregator", COMMIT): _commit,
    **{
        ("publisher", right): partial(_relay if right.operation is Operation.WRITE else _look_back, topic=right.name)
        for right in RELAY
    },
    **{("publisher", right): partial(_verify, topic=right.name) for right in VERIFY},
    ("publisher", DESCRIBE_EVENTS[-1]): _ends,
    ("publisher", SEND): partial(_relay, topic=REPORT_READY),
    ("publisher", TIME): _time,
}
"""What a service does with a right."""


def test_the_work_for_each_right_is_listed() -> None:
    assert set(_WORK) == {(service, right) for service in _SERVICES for right in RIGHTS[service]}


@pytest.mark.parametrize(("service", "right"), _WORK, ids=lambda value: str(value).replace(" ", "-"))
async def test_without_a_right_its_work_fails(
    broker: AuthorizingKafka, service: str, right: Right, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is Describe enough, which Read and Write include."""
    monkeypatch.setattr("services.runtime.kafka_access.lacking", lambda *_: [])
    work, client = _WORK[service, right], _client(broker, service)
    acl = Acl(f"User:{service}", *right)
    async with asyncio.timeout(_SECONDS):
        await work(client)
    await revoke(broker, acl)
    weaker = [] if right.operation is Operation.DESCRIBE else [acl._replace(operation=Operation.DESCRIBE)]
    try:
        with pytest.raises(_DENIALS):
            async with asyncio.timeout(_SECONDS):
                await work(client)
        for one in weaker:
            await grant(broker, one)
            with pytest.raises(_DENIALS):
                async with asyncio.timeout(_SECONDS):
                    await work(client)
            await revoke(broker, one)
    finally:
        await grant(broker, acl)


async def _may_write(client: Client, topic: str) -> bool:
    try:
        async with _producing(client) as producer:
            await producer.send_and_wait(topic, b"3", b"key", partition=0)
    except TopicAuthorizationFailedError:
        return False
    return True


async def _may_read(client: Client, topic: str) -> bool:
    tp = TopicPartition(topic, 0)
    async with _consuming(client) as consumer:
        await consumer._client.set_topics([topic])
        if topic in consumer._client.cluster.unauthorized_topics:
            return False
        consumer.assign([tp])
        consumer.seek(tp, 0)
        try:
            return bool(await consumer.getmany(tp, timeout_ms=10_000))
        except TopicAuthorizationFailedError:
            return False


@pytest.mark.parametrize("user", RIGHTS)
async def test_a_user_may_read_and_write_the_topics_of_its_list_and_no_others(
    broker: AuthorizingKafka, user: str
) -> None:
    client = _client(broker, user)
    names = [topic.name for topic in TOPICS]
    permitted = {(Operation.WRITE, name) for name in names if await _may_write(client, name)}
    permitted |= {(Operation.READ, name) for name in names if await _may_read(client, name)}
    listed = {(right.operation, right.name) for right in RIGHTS[user] if right.resource is Resource.TOPIC}
    assert permitted == {one for one in listed if one[0] is not Operation.DESCRIBE}


@pytest.mark.parametrize("user", RIGHTS)
async def test_a_user_may_change_neither_topics_nor_acls(broker: AuthorizingKafka, user: str) -> None:
    settings = ConfigResource(ConfigResourceType.TOPIC, DETAINER_ISSUED, configs={"retention.ms": "1"})
    login = {**_client(broker, user)}
    async with kafka_log.admin(login.pop("bootstrap_servers"), **login) as admin:
        created: Any = await admin.create_topics([NewTopic("own", 1, 1)])
        deleted: Any = await admin.delete_topics([DETAINER_ISSUED])
        changed: list[Any] = await admin.alter_configs([settings])
        assert [one[1] for one in (*created.topic_errors, *deleted.topic_error_codes)] == [29, 29]
        assert [one.resources[0][0] for one in changed] == [29]
        with pytest.raises(TopicAuthorizationFailedError):
            await admin.create_partitions({DETAINER_ISSUED: NewPartitions(99)})
        with pytest.raises(TopicAuthorizationFailedError):
            await admin.delete_records({TopicPartition(DETAINER_ISSUED, 0): RecordsToDelete(1)})
        with pytest.raises(ConfigurationError, match="does not allow this user"):
            await acls.create(admin, [Acl(f"User:{user}", Operation.ALL, Resource.TOPIC, "*")])


@pytest.mark.parametrize("user", [name for name in RIGHTS if name != "publisher"])
async def test_no_other_user_may_use_the_transactional_id(broker: AuthorizingKafka, user: str) -> None:
    with pytest.raises(KafkaError, match="TransactionalIdAuthorizationFailed"):
        await _relay(_client(broker, user), REPORT_READY)


@pytest.mark.parametrize("user", [name for name in RIGHTS if name != "aggregator"])
async def test_no_other_user_may_change_the_positions_of_the_group(broker: AuthorizingKafka, user: str) -> None:
    with pytest.raises(GroupAuthorizationFailedError):
        await _commit(_client(broker, user))
