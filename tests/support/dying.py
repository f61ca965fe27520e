"""A process that is killed at its n-th call to PostgreSQL or Kafka: the call is done, or not, and nothing after it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any


class KilledError(BaseException):
    """The process ends here."""


class Fate:
    """Counts calls, and kills before and after each of them in turn: 0 before the first, 1 after it, and so on."""

    def __init__(self, at: int) -> None:
        self._at = at
        self.calls = 0

    def tick(self) -> None:
        """One more moment at which the process may end."""
        self.calls += 1
        if self.calls > self._at:
            raise KilledError

    def guard(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call with a moment before and one after."""

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            self.tick()
            answer = await call(*args, **kwargs)
            self.tick()
            return answer

        return guarded


class DyingConnection:
    """A connection whose process has a fate. `terminate` is what the server sees of a kill."""

    def __init__(self, connection: Any, fate: Fate, last: str | None = None) -> None:
        """`last`: a statement before which the process ends in any case."""
        self._connection = connection
        self._fate = fate
        self._last = last

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        return self._guard(found) if name in {"execute", "fetch", "fetchrow", "fetchval"} else found

    def _guard(self, call: Callable[..., Any]) -> Callable[..., Any]:
        guarded = self._fate.guard(call)

        async def one(query: str, *arguments: Any) -> Any:
            if query == self._last:
                raise KilledError
            return await guarded(query, *arguments)

        return one

    @asynccontextmanager
    async def transaction(self, **options: Any) -> AsyncIterator[None]:
        """A transaction with a moment before its commit, and one after."""
        transaction = self._connection.transaction(**options)
        await transaction.start()
        try:
            yield
            self._fate.tick()
        except KilledError:
            raise  # nobody rolls back for a killed process: the server does
        except BaseException:
            await transaction.rollback()
            raise
        await transaction.commit()
        self._fate.tick()


class DyingProducer:
    """A transactional producer whose process has a fate."""

    def __init__(self, producer: Any, fate: Fate) -> None:
        self._producer = producer
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._producer, name)
        return self._fate.guard(found) if name in {"start", "send"} else found

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """A Kafka transaction with a moment before its commit, and one after."""
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
