"""Writing to and reading from the log beside the services."""

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
from schemas.topics import EVENT_TOPICS, TOPICS, partition_of
from services.runtime import postgres
from services.runtime.settings import Settings
from tests.support.positions import Connection, Offsets, next_offsets
from tests.support.waiting import until

EVENT_PARTITIONS = [(topic.name, number) for topic in EVENT_TOPICS for number in range(topic.partitions)]


@dataclass(frozen=True, slots=True)
class Message:
    """A record to write. Without a partition it goes where its key belongs."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()

    @property
    def place(self) -> tuple[str, int]:
        """Topic and partition."""
        partitions = sum(topic == self.topic for topic, _ in EVENT_PARTITIONS)
        return self.topic, partition_of(self.key or b"", partitions) if self.partition is None else self.partition


def make_topics(part: KafkaPart) -> None:
    """Create the project's topics on an empty Kafka.

    A Kafka that the settings name and that has them already may hold what somebody needs: tests end there.
    """

    names = {topic.name for topic in TOPICS}

    async def make() -> None:
        async with admin(part.bootstrap) as client:
            there = names & set(await client.list_topics())
            if there and part.kind == "settings":
                raise RuntimeError(f"{part.name} already has {sorted(there)}: name an empty one for tests")
            await create_topics(client, names)

    _in_a_loop_of_its_own(make())


@contextmanager
def topics(part: KafkaPart) -> Iterator[None]:
    """`make_topics`, and away with them at the end if the Kafka is somebody else's."""
    make_topics(part)
    yield
    if part.kind == "settings":

        async def delete() -> None:
            async with admin(part.bootstrap) as client:
                await client.delete_topics([topic.name for topic in TOPICS])

        _in_a_loop_of_its_own(delete())


def _in_a_loop_of_its_own(work: Coroutine[Any, Any, None]) -> None:
    # In a thread: the caller is a fixture inside a running event loop.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


async def create_topics(client: AIOKafkaAdminClient, names: Iterable[str], replication: int = 1) -> None:
    """Create topics as the project wants them, with so many copies of each."""
    wanted = [topic for topic in TOPICS if topic.name in set(names)]
    response: Any = await client.create_topics(
        [NewTopic(one.name, one.partitions, replication, topic_configs=one.config(replication)) for one in wanted]
    )
    for name, code, *_ in response.topic_errors:
        if code:
            raise RuntimeError(f"{name}: {for_code(code).__name__}")


async def make_anew(bootstrap: str, topic: str) -> None:
    """Delete a topic and create it again, empty."""
    async with admin(bootstrap) as client:
        await client.delete_topics([topic])

        async def gone() -> bool:
            return topic not in await client.list_topics()

        await until(gone, f"{topic} deleted")
        await create_topics(client, [topic])

        async def there() -> bool:
            described = await client.describe_topics([topic])
            partitions = described[0]["partitions"]
            return bool(partitions) and all(one["leader"] >= 0 and not one["error_code"] for one in partitions)

        await until(there, f"{topic} served again")


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
    """A producer that loses nothing."""
    client = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, **more)
    try:
        await client.start()
        yield client
    finally:
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
    """Write messages; where each of them is: topic, partition, offset."""
    async with producer(bootstrap) as client:
        return await send(client, messages)


async def send(client: AIOKafkaProducer, messages: Iterable[Message]) -> list[tuple[str, int, int]]:
    """Write messages with a producer that is there."""
    futures = []
    for one in messages:
        topic, partition = one.place
        futures.append(
            await client.send(topic, value=one.value, key=one.key, partition=partition, headers=list(one.headers))
        )
    written = await asyncio.gather(*futures)
    return [(one.topic, one.partition, one.offset) for one in written]


async def ends(bootstrap: str, places: Iterable[tuple[str, int]] = EVENT_PARTITIONS) -> Offsets:
    """The next offset of each partition."""
    async with _consumer(bootstrap) as consumer:
        found = await consumer.end_offsets([TopicPartition(*place) for place in places])
        return {(tp.topic, tp.partition): offset for tp, offset in found.items()}


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


async def begin_at_the_ends(connection: Connection, bootstrap: str) -> Offsets:
    """Put the positions of a new database at the ends of the log, where an operator may put them too."""
    found = await ends(bootstrap)
    await connection.executemany(
        "INSERT INTO partition_position (topic, partition, next_offset) VALUES ($1, $2, $3)",
        [(*place, offset) for place, offset in found.items()],
    )
    return found


async def counted(
    connection: Connection,
    bootstrap: str,
    seconds: float = 90,
    places: Iterable[tuple[str, int]] = EVENT_PARTITIONS,
) -> None:
    """Wait until every position is at the end of its partition; these are all partitions."""
    goal = await ends(bootstrap, places)

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
