"""Storing accepted events in Kafka: acks=all, idempotent, one batch a partition, and a deadline of our own.

An idempotent aiokafka producer never gives up by itself, so what is not acknowledged in time is answered `unavailable`
though it may still be written.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.topics import CONTENT_TYPE
from services.ingest.intake import Accepted
from services.runtime.logs import get

log = get(__name__)

DEADLINE_SECONDS = 5.0
_HEADERS = [("content-type", CONTENT_TYPE.encode())]


class EventProducer:
    """The producer of one ingest process."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._producer = AIOKafkaProducer(
            **client, acks="all", enable_idempotence=True, linger_ms=0, max_batch_size=1_048_576
        )

    async def start(self) -> None:
        """Connect; KafkaError when no broker answers."""
        await self._producer.start()

    async def stop(self, seconds: float = 5.0) -> None:
        """Send what is buffered and close, or close without it when Kafka stays away."""
        try:
            async with asyncio.timeout(seconds):
                await self._producer.stop()
        except TimeoutError:
            log.warning("producer-closed-with-unsent-events")

    async def store(self, events: Sequence[Accepted]) -> dict[int, int]:
        """Write events; answers the offset of each line that was acknowledged before the deadline."""
        groups: dict[tuple[str, int], list[Accepted]] = defaultdict(list)
        for event in events:
            groups[event.topic, event.partition].append(event)
        tasks = [asyncio.create_task(self._send(*place, group)) for place, group in groups.items()]
        if not tasks:
            return {}
        done, late = await asyncio.wait(tasks, timeout=DEADLINE_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        offsets: dict[int, int] = {}
        for task in done:
            error = task.exception()
            if error is None:
                offsets.update(task.result())
            elif isinstance(error, KafkaError):
                log.warning("events-not-stored", error=type(error).__name__)
            else:
                raise error
        return offsets

    async def _send(self, topic: str, partition: int, events: Sequence[Accepted]) -> dict[int, int]:
        """Send events of one partition in order, in as few batches as they fit; each line's offset."""
        offsets: dict[int, int] = {}
        waiting = list(events)
        while waiting:
            batch = self._producer.create_batch()
            taken = 0
            for event in waiting:
                if batch.append(key=event.key, value=event.value, timestamp=None, headers=_HEADERS) is None:
                    break
                taken += 1
            batch.close()
            acknowledged = await self._producer.send_batch(batch, topic, partition=partition)
            written = await asyncio.shield(acknowledged)
            offsets.update({event.line: written.offset + index for index, event in enumerate(waiting[:taken])})
            waiting = waiting[taken:]
        return offsets
