"""How far behind each partition is: the lag metric, and committed offsets for the usual lag tools.

Positions live in PostgreSQL. What is committed to Kafka here is a copy for tools such as kafka-consumer-groups; nobody
joins the group, and nothing reads it back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from services.aggregator.leases import Partition
from services.aggregator.log import theirs
from services.runtime import kafka, metrics
from services.runtime.logs import get

log = get(__name__)

GROUP = "ddor-aggregator"


class LagView:
    """Commits positions under a consumer group that has no members. It never fetches a record."""

    def __init__(self, client: Mapping[str, Any], partitions: Iterable[Partition]) -> None:
        self._partitions = [theirs(one) for one in partitions]
        self._shown: set[Partition] = set()
        self._consumer = AIOKafkaConsumer(**client, group_id=GROUP, enable_auto_commit=False, auto_offset_reset="none")

    async def start(self) -> None:
        """Connect; KafkaError when no broker answers."""
        metrics.LAG.clear()
        self._consumer.assign(self._partitions)
        await kafka.start(self._consumer.start)
        self._consumer.pause(*self._partitions)

    async def stop(self) -> None:
        """Close the connection, and show no lag that nobody measures any more."""
        self.hide(self._shown)
        await kafka.stop(self._consumer)

    def hide(self, partitions: Iterable[Partition]) -> None:
        """Take the lag of partitions that are another's, or nobody's, out of the metrics."""
        for partition in partitions:
            metrics.LAG.remove(partition.topic, partition.number)

    async def show(self, positions: Mapping[Partition, int], ends: Mapping[Partition, int]) -> None:
        """Set the lag metric and commit. A failed commit costs a tool its view and nothing else."""
        self.hide(self._shown - positions.keys())
        for partition, position in positions.items():
            lag = max(0, ends.get(partition, position) - position)
            metrics.LAG.labels(partition.topic, partition.number).set(lag)
        self._shown = set(positions)
        if not positions:
            return
        try:
            async with asyncio.timeout(2):
                await self._consumer.commit({theirs(one): offset for one, offset in positions.items()})
        except (KafkaError, TimeoutError) as error:
            log.debug("positions-not-shown", error=type(error).__name__)
