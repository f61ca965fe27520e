"""A steady load for as long as a test lasts: agencies that send again whatever was not acknowledged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import takewhile
from typing import Final

import httpx

from deploy.local.stack import Stack
from tests.chaos.producing import Acknowledged, Gate, Producers
from tests.chaos.story import Story
from tests.support.waiting import until

_TICK = 0.1
_EVENTS_PER_TICK = 10
_CHUNK = 10
_ENDLESS = 1_000_000
_EXPECTED: Final = {200, 207, 503}
"""503 has a Retry-After: a client sends again."""


class Load:
    """Acknowledged events, and the number of responses by status."""

    def __init__(self) -> None:
        self.acknowledged = Acknowledged()
        self.statuses: Counter[int] = Counter()
        self.gate = Gate(self.acknowledged)
        self.ends = False

    async def more(self, least: int = 200) -> None:
        """Wait until this many more events are acknowledged."""
        goal = len(self.acknowledged.addresses) + least

        async def reached() -> bool:
            return len(self.acknowledged.addresses) >= goal

        await until(reached, f"{least} more events acknowledged", 300)

    def unexpected(self) -> dict[int, int]:
        """The responses that a client does not have to expect during an upgrade, by status."""
        return {status: number for status, number in self.statuses.items() if status not in _EXPECTED}


class _Counting(Producers):
    """Producers that count the statuses of responses."""

    statuses: Counter[int]

    def _client(self, ingest: str, key: str) -> httpx.AsyncClient:
        async def count(response: httpx.Response) -> None:
            self.statuses[response.status_code] += 1

        client = super()._client(ingest, key)
        client.event_hooks = {"response": [count]}
        return client


@asynccontextmanager
async def load(stack: Stack, seed: int) -> AsyncIterator[Load]:
    """Send about a hundred events a second until the end, and then until all of them are acknowledged."""
    one, variables = Load(), stack.variables()
    story = takewhile(lambda _: not one.ends, Story(seed, _ENDLESS))
    producers = _Counting(story, one.acknowledged, one.gate, _CHUNK)
    producers.statuses = one.statuses

    async def opening() -> None:
        while not one.ends:
            one.gate.limit += _EVENTS_PER_TICK
            await asyncio.sleep(_TICK)
        one.gate.limit = 2 * _ENDLESS

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            producers.run(variables["DDOR_INGEST_URL"], variables["DDOR_AGENCY_KEY"], stack.kafka.bootstrap)
        )
        tasks.create_task(opening())
        try:
            yield one
        finally:
            one.ends = True
