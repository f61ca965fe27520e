"""The ends of the log's partitions, for committed records and for all, and the time of Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.log import Partition, Vector
from services.publisher.end_offsets import EndOffsets
from services.runtime import transactions


@dataclass(frozen=True, slots=True)
class LogEnds:
    """The end of each partition, and the partitions blocked by an open transaction with its first offset."""

    end: Vector
    blocked: Mapping[Partition, int]


class LogReader:
    """Two Kafka consumers that read the ends of the event topics."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._ends = EndOffsets(client)
        self._stable = EndOffsets(client, "read_committed")

    async def start(self) -> None:
        """Connect. Raises KafkaError if no broker responds. Call `stop` also after an error."""
        await self._ends.start()
        await self._stable.start()

    async def stop(self) -> None:
        """Close the connections."""
        try:
            await self._ends.stop()
        finally:
            await self._stable.stop()

    async def read(self) -> LogEnds:
        """The current ends."""
        end = await self._ends.read()
        return LogEnds(end, transactions.blocked(await self._stable.read(), end))

    async def time(self) -> datetime:
        """The time of Kafka, in UTC. Raises KafkaTimeUnavailableError if Kafka does not report it."""
        return await self._ends.time()
