"""Storing accepted events in Kafka: acks=all, idempotent, one batch a partition, and a deadline of our own.

An idempotent aiokafka producer never gives up by itself, so what is not acknowledged in time is answered `unavailable`
though it may still be written. Sending it again cannot count twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.topics import CONTENT_TYPE
from services.ingest.intake import Accepted
from services.ingest.receipts import Receipt
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

    async def store(self, judged: Sequence[Accepted | Receipt]) -> list[Receipt]:
        """Write what was accepted; answers a receipt for each, in the order given."""
        groups: dict[tuple[str, int], list[Accepted]] = {}
        for one in judged:
            if type(one) is Accepted:
                groups.setdefault((one.topic, one.partition), []).append(one)
        offsets: dict[int, int] = {}
        if len(groups) == 1:
            ((place, group),) = groups.items()
            await self._within_deadline(self._send(*place, group, offsets))
        elif groups:
            sends = [self._send(*place, group, offsets) for place, group in groups.items()]
            await self._within_deadline(asyncio.gather(*sends))
        return [one if type(one) is Receipt else _receipt(one, offsets) for one in judged]

    async def _within_deadline(self, sending: Any) -> None:  # a coroutine or a gathering of them
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await sending
        except (TimeoutError, KafkaError) as error:
            log.warning("events-not-stored", error=type(error).__name__)

    async def _send(self, topic: str, partition: int, events: Sequence[Accepted], offsets: dict[int, int]) -> None:
        """Send events of one partition in order, in as few batches as they fit; notes each line's offset."""
        start = 0
        while start < len(events):
            batch = self._producer.create_batch()
            end = start
            for event in events[start:]:
                if batch.append(key=event.key, value=event.value, timestamp=None, headers=_HEADERS) is None:
                    break
                end += 1
            batch.close()
            acknowledged = await self._producer.send_batch(batch, topic, partition=partition)
            written = await asyncio.shield(acknowledged)
            for index in range(start, end):
                offsets[events[index].line] = written.offset + index - start
            start = end


def _receipt(one: Accepted | Receipt, offsets: Mapping[int, int]) -> Receipt:
    if isinstance(one, Receipt):
        return one
    offset = offsets.get(one.line)
    return one.unavailable() if offset is None else one.stored(offset)
