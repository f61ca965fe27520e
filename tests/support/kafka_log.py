"""Write to and read from the log without the services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

from deploy.local.parts import KafkaPart
from schemas.log import Partition, Vector
from schemas.topics import EVENT_TOPICS, TOPICS, partition_of
from services.runtime import postgres
from services.runtime.kafka import topic_partition
from services.runtime.settings import Settings
from tests.support.positions import Connection, next_offsets
from tests.support.waiting import until

EVENT_PARTITIONS = [Partition(topic.name, number) for topic in EVENT_TOPICS for number in range(topic.partitions)]


@dataclass(frozen=True, slots=True)
class Message:
    """A record to write. Without a partition, its key decides."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()

    @property
    def target(self) -> Partition:
        """The partition that the record is written to."""
        if self.partition is not None:
            return Partition(self.topic, self.partition)
        partitions = sum(one.topic == self.topic for one in EVENT_PARTITIONS)
        return Partition(self.topic, partition_of(self.key or b"", partitions))


def make_topics(part: KafkaPart) -> None:
    """Create the project's topics on an empty Kafka.

    Fails on an external Kafka that already has the topics: their records may be needed.
    """

    names = {topic.name for topic in TOPICS}

    async def make() -> None:
        async with admin(part.bootstrap) as client:
            there = names & set(await client.list_topics())
            if there and part.source == "settings":
                raise RuntimeError(f"{part.name} already has {sorted(there)}: name an empty one for tests")
            await create_topics(client, names)

    in_a_loop_of_its_own(make())


def recreate_topics(part: KafkaPart) -> None:
    """Delete the project's topics if they exist, and create them empty."""
    in_a_loop_of_its_own(recreate(part.bootstrap, *(topic.name for topic in TOPICS)))


@contextmanager
def topics(part: KafkaPart) -> Iterator[None]:
    """`make_topics`; on an external Kafka the topics are deleted afterwards."""
    make_topics(part)
    yield
    if part.source == "settings":

        async def delete() -> None:
            async with admin(part.bootstrap) as client:
                await client.delete_topics([topic.name for topic in TOPICS])

        in_a_loop_of_its_own(delete())


def in_a_loop_of_its_own(work: Coroutine[Any, Any, None]) -> None:
    # In a thread: the caller is a fixture inside a running event loop.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


async def create_topics(client: AIOKafkaAdminClient, names: Iterable[str], replication: int = 1) -> None:
    """Create topics with the project's configuration and this replication factor."""
    wanted = [topic for topic in TOPICS if topic.name in set(names)]
    response: Any = await client.create_topics(
        [NewTopic(one.name, one.partitions, replication, topic_configs=one.config(replication)) for one in wanted]
    )
    for name, code, *_ in response.topic_errors:
        if code:
            raise RuntimeError(f"{name}: {for_code(code).__name__}")


async def recreate(bootstrap: str, *names: str) -> None:
    """Delete these topics if they exist, and create them empty."""
    async with admin(bootstrap) as client:

        async def left() -> set[str]:
            return set(names) & set(await client.list_topics())

        async def gone() -> bool:
            return not await left()

        async def served() -> bool:
            described = await client.describe_topics(list(names))
            partitions = [one["partitions"] for one in described]
            return all(partitions) and all(
                one["leader"] >= 0 and not one["error_code"] for topic in partitions for one in topic
            )

        if there := await left():
            await client.delete_topics(list(there))
            await until(gone, f"{sorted(there)} deleted")
        await create_topics(client, names)
        await until(served, f"{sorted(names)} served")


@asynccontextmanager
async def admin(bootstrap: str, **more: Any) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client."""
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap, **more)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def producer(bootstrap: str, **more: Any) -> AsyncIterator[AIOKafkaProducer]:
    """An idempotent producer with acks=all. At the end it waits ten seconds for acknowledgements."""
    client = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, **more)
    try:
        await client.start()
        yield client
    finally:
        async with asyncio.timeout(10):
            await client.stop()


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Connection]:
    """A connection to the settings' database."""
    connection = await postgres.connect(settings, "ddor-test")
    try:
        yield connection
    finally:
        await connection.close()


async def append(bootstrap: str, messages: Iterable[Message]) -> list[tuple[str, int, int]]:
    """Write messages. Returns topic, partition and offset of each."""
    async with producer(bootstrap) as client:
        return await send(client, messages)


async def send(client: AIOKafkaProducer, messages: Iterable[Message]) -> list[tuple[str, int, int]]:
    """Write messages with an existing producer."""
    futures = []
    for one in messages:
        to, headers = one.target, list(one.headers)
        futures.append(await client.send(to.topic, value=one.value, key=one.key, partition=to.number, headers=headers))
    written = await asyncio.gather(*futures)
    return [(one.topic, one.partition, one.offset) for one in written]


async def ends(bootstrap: str, partitions: Iterable[Partition] = EVENT_PARTITIONS) -> Vector:
    """The next offset of each partition."""
    async with _consumer(bootstrap) as consumer:
        found = await consumer.end_offsets([topic_partition(one) for one in partitions])
        return Vector({Partition(*tp): offset for tp, offset in found.items()})


async def read(bootstrap: str, topic: str, partition: int = 0, start: int = 0) -> list[ConsumerRecord[Any, Any]]:
    """All committed records from `start` to the end."""
    tp = TopicPartition(topic, partition)
    async with _consumer(bootstrap) as consumer:
        consumer.assign([tp])
        consumer.seek(tp, start)
        end = (await consumer.end_offsets([tp]))[tp]
        records: list[ConsumerRecord[Any, Any]] = []
        async with asyncio.timeout(60):
            while await consumer.position(tp) < end:
                records += (await consumer.getmany(tp, timeout_ms=200)).get(tp, [])
        return records


async def begin_at_the_ends(connection: Connection, bootstrap: str) -> Vector:
    """Put the positions of a new database at the ends of the log, where an operator may put them too."""
    found = await ends(bootstrap)
    await connection.executemany(
        "INSERT INTO partition_position (topic, partition, next_offset) VALUES ($1, $2, $3)",
        [(one.topic, one.number, offset) for one, offset in found.items()],
    )
    return found


async def counted(
    connection: Connection,
    bootstrap: str,
    seconds: float = 90,
    partitions: Iterable[Partition] = EVENT_PARTITIONS,
) -> None:
    """Wait until every position is at the end of its partition; these are all partitions."""
    goal = await ends(bootstrap, partitions)

    async def at_the_end() -> bool:
        return await next_offsets(connection) == goal

    await until(at_the_end, "every position at the log's end", seconds)


@asynccontextmanager
async def _consumer(bootstrap: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()
