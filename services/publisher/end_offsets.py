"""The ends of the event partitions, and the time of Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer

from schemas.log import Partition, Vector
from schemas.topics import EVENT_TOPICS
from services.publisher import kafka_time
from services.runtime import kafka, kafka_access
from services.runtime.kafka_access import AccessCheck
from services.runtime.kafka_rights import DESCRIBE_EVENTS

Isolation = Literal["read_uncommitted", "read_committed"]


class EndOffsets:
    """Reads the end offsets of the event topics, including newly added partitions."""

    def __init__(self, client: Mapping[str, Any], isolation: Isolation = "read_uncommitted") -> None:
        """With `read_committed`, a partition ends at its first open transaction."""
        self._consumer = AIOKafkaConsumer(**client, isolation_level=isolation, enable_auto_commit=False)

    async def start(self) -> None:
        """Connect. Raises KafkaError if no broker responds, MissingRightError if it denies the event topics."""
        await kafka.start(self._consumer.start)
        await kafka_access.check_on(self._consumer._client, DESCRIBE_EVENTS)

    async def check(self, access: AccessCheck) -> None:
        """Repeat a check of rights over this connection."""
        await access.repeat(self._consumer._client)

    async def stop(self) -> None:
        """Close the connection."""
        await kafka.stop(self._consumer)

    async def time(self) -> datetime:
        """The time of Kafka, in UTC. Raises KafkaTimeUnavailableError if Kafka does not report it."""
        return await kafka_time.time_of(self._consumer)

    async def read(self) -> Vector:
        """The end offset of each partition."""
        partitions = await kafka.partitions(self._consumer, EVENT_TOPICS)
        found = await self._consumer.end_offsets([kafka.topic_partition(one) for one in partitions])
        return Vector({Partition(one.topic, one.partition): offset for one, offset in found.items()})
