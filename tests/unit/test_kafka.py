"""services.runtime.kafka: safe starts and stops of Kafka clients."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from services.runtime import kafka


class Consumer:
    """A consumer whose own task is cancelled, or that fails, while it stops."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    async def stop(self) -> None:
        """Raise the error."""
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


async def stop(error: BaseException | None) -> None:
    await kafka.stop(cast("AIOKafkaConsumer", Consumer(error)))


async def test_a_cancellation_of_the_consumers_own_task_is_not_raised_by_stop() -> None:
    await stop(asyncio.CancelledError())
    await stop(None)


async def test_other_errors_of_stop_are_raised() -> None:
    with pytest.raises(KafkaError):
        await stop(KafkaError())
