"""A simulated process that dies before or after its n-th call to PostgreSQL or Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any


class KilledError(BaseException):
    """The simulated process dies here."""


class Fate:
    """Counts the moments before and after each call, and kills at one of them: 0 before the first call, 1 after it."""

    def __init__(self, at: int) -> None:
        self._at = at
        self.calls = 0

    def tick(self) -> None:
        """A moment at which the process may die."""
        self.calls += 1
        if self.calls > self._at:
            raise KilledError

    def guard(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call with a moment before and after it."""

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            self.tick()
            result = await call(*args, **kwargs)
            self.tick()
            return result

        return guarded


class DyingConnection:
    """The connection of such a process. `terminate` has the effect of a kill on the server."""

    def __init__(self, connection: Any, fate: Fate, last: str | None = None) -> None:
        """`last`: the process always dies before this statement."""
        self._connection = connection
        self._fate = fate
        self._last = last

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        return self._guard(found) if name in {"execute", "fetch", "fetchrow", "fetchval"} else found

    def _guard(self, call: Callable[..., Any]) -> Callable[..., Any]:
        guarded = self._fate.guard(call)

        async def one(query: str, *arguments: Any, **named: Any) -> Any:
            if query == self._last:
                raise KilledError
            return await guarded(query, *arguments, **named)

        return one

    @asynccontextmanager
    async def transaction(self, **options: Any) -> AsyncIterator[None]:
        """A transaction with a moment before and after its commit."""
        transaction = self._connection.transaction(**options)
        await transaction.start()
        try:
            yield
            self._fate.tick()
        except KilledError:
            raise  # the server rolls back
        except BaseException:
            await transaction.rollback()
            raise
        await transaction.commit()
        self._fate.tick()


class DyingProducer:
    """The transactional producer of such a process."""

    def __init__(self, producer: Any, fate: Fate) -> None:
        self._producer = producer
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._producer, name)
        return self._fate.guard(found) if name in {"start", "send"} else found

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """A Kafka transaction with a moment before and after its commit."""
        await self._producer.begin_transaction()
        try:
            yield
            self._fate.tick()
        except KilledError:
            raise  # the next of this transactional id aborts it
        except BaseException:
            await self._producer.abort_transaction()
            raise
        await self._producer.commit_transaction()
        self._fate.tick()
