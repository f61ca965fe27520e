"""Lag of each partition: the metric, and committed offsets for the usual lag tools.

The lag is the high watermark less the position. It includes records that an open transaction hides from the
aggregator: they are not counted yet, and no week closes without them.

Positions are stored in PostgreSQL. The offsets committed to Kafka are a copy for tools such as kafka-consumer-groups.
The consumer group has no members, and no service reads its offsets.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError

from schemas.log import Partition, Vector
from services.aggregator.open_transactions import OpenTransactionMonitor
from services.runtime import error_messages, kafka, metrics, transactions
from services.runtime.kafka import topic_partition
from services.runtime.kafka_rights import COMMIT, GROUP, MissingRightError
from services.runtime.logs import get

log = get(__name__)


class LagReporter:
    """Commits positions for a consumer group without members. It never fetches a record."""

    def __init__(
        self, client: Mapping[str, Any], partitions: Iterable[Partition], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._open_transactions = OpenTransactionMonitor()
        self._partitions = [topic_partition(one) for one in partitions]
        self._reported: set[Partition] = set()
        self.problem: str | None = None
        """Kafka denies the commits. Counting continues without them."""
        self._consumer = AIOKafkaConsumer(**client, group_id=GROUP, enable_auto_commit=False, auto_offset_reset="none")

    async def start(self) -> None:
        """Connect. Raises KafkaError if no broker responds."""
        metrics.LAG.clear()
        metrics.OPEN_TRANSACTION.clear()
        self._consumer.assign(self._partitions)
        await kafka.start(self._consumer.start)
        self._consumer.pause(*self._partitions)

    async def stop(self) -> None:
        """Close the connection and remove the metrics, which would be stale."""
        self.remove(self._reported)
        self._open_transactions.observe({}, self._clock())
        await kafka.stop(self._consumer)

    def remove(self, partitions: Iterable[Partition]) -> None:
        """Remove the lag of partitions that this worker no longer leases from the metrics."""
        for partition in partitions:
            metrics.LAG.remove(partition.topic, partition.number)

    async def high_watermarks(self, partitions: Iterable[Partition]) -> Vector:
        """The high watermark of each partition, which includes open transactions. Raises KafkaError as `ends` does."""
        found = await self._consumer.end_offsets([topic_partition(one) for one in partitions])
        return Vector({Partition(*tp): offset for tp, offset in found.items()})

    async def report(self, positions: Vector, stable: Vector, high: Vector) -> None:
        """Set the metrics and commit the positions. If the commit fails, only the lag tools are affected.

        `stable` are the last stable offsets, `high` the high watermarks. Request the high watermarks first.
        """
        self.remove(self._reported - positions.keys())
        for partition, position in positions.items():
            lag = max(0, high.get(partition, position) - position)
            metrics.LAG.labels(partition.topic, partition.number).set(lag)
        self._open_transactions.observe(transactions.blocked(stable, high), self._clock())
        self._reported = set(positions)
        if not positions:
            return
        try:
            async with asyncio.timeout(2):
                await self._consumer.commit({topic_partition(one): offset for one, offset in positions.items()})
            self.problem = None
        except GroupAuthorizationFailedError:
            self._denied(MissingRightError(COMMIT))
        except (KafkaError, TimeoutError) as error:
            log.debug("positions-not-committed", error=type(error).__name__)

    def _denied(self, error: MissingRightError) -> None:
        if self.problem is None:
            log.error("positions-not-committed", error=type(error).__name__, reason=str(error))
        self.problem = f"lag of the consumer group: {error_messages.summary(error)}"
