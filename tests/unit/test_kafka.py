"""services.runtime.kafka: what every client of Kafka needs."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from services.runtime import kafka


class Consumer:
    """A consumer whose own task was cancelled, or that fails, while it stops."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    async def stop(self) -> None:
        """End by the error."""
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


async def stop(error: BaseException | None) -> None:
    await kafka.stop(cast("AIOKafkaConsumer", Consumer(error)))


async def test_a_cancellation_of_a_consumers_own_task_does_not_come_out_of_its_end() -> None:
    await stop(asyncio.CancelledError())
    await stop(None)


async def test_what_else_fails_at_its_end_is_raised() -> None:
    with pytest.raises(KafkaError):
        await stop(KafkaError())
