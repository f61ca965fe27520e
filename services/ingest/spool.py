"""Receipts on their way to a client that may not read yet: in memory, then in a temporary file, up to a limit.

A client that sends its whole body before it reads (as many HTTP libraries do) must not stop us from reading the body,
or both would wait for ever.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator

MEMORY_BYTES = 1_048_576
LIMIT_BYTES = 64 * 1_048_576
_READ = 65_536


class NotReadError(Exception):
    """The client has left more receipts unread than are kept."""


class Spool:
    """One writer, one reader, in order. `put` never waits."""

    def __init__(self, limit: int = LIMIT_BYTES) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115  # closed by `close`
        self._limit = limit
        self._written = 0
        self._taken = 0
        self._ended = False
        self._more = asyncio.Event()

    def put(self, data: bytes) -> None:
        """Keep data for the reader; NotReadError above the limit."""
        if self._written - self._taken + len(data) > self._limit:
            raise NotReadError
        if self._taken >= MEMORY_BYTES or self._taken == self._written:
            self._forget_taken()
        self._file.seek(self._written)
        self._file.write(data)
        self._written += len(data)
        self._more.set()

    def _forget_taken(self) -> None:
        """Give back the space of what the reader has: a stream may be far longer than the limit."""
        unread = self._written - self._taken
        if unread <= MEMORY_BYTES:
            self._file.seek(self._taken)
            rest = self._file.read(unread)
            self._file.seek(0)
            self._file.truncate()
            self._file.write(rest)
            self._written, self._taken = unread, 0

    def end(self) -> None:
        """No more data will come."""
        self._ended = True
        self._more.set()

    async def pieces(self) -> AsyncIterator[bytes]:
        """What was put, in pieces, until the end."""
        while True:
            if self._taken < self._written:
                self._file.seek(self._taken)
                piece = self._file.read(min(_READ, self._written - self._taken))
                self._taken += len(piece)
                yield piece
            elif self._ended:
                return
            else:
                self._more.clear()
                await self._more.wait()

    def close(self) -> None:
        """Delete the temporary file."""
        self._file.close()
