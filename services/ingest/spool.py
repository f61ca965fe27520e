"""Receipts on their way to a client that may not read yet: in memory, then in temporary files, up to two limits.

One is for each client, the other for what all clients of this process have in files: these may be memory too, where
/tmp is. A client that reads in time needs no file, and is never refused for what others leave unread.

A client that sends its whole body before it reads (as many HTTP libraries do) must not stop us from reading the body,
or both would wait for ever.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from typing import IO

MEMORY_BYTES = 1_048_576
LIMIT_BYTES = 64 * 1_048_576
SHELF_BYTES = 128 * 1_048_576
_FILE_BYTES = 16 * 1_048_576
_READ = 65_536


class NotReadError(Exception):
    """The client, or all of them together, have left more receipts unread than are kept."""


class Shelf:
    """The room for files of all spools of a process; `used` in bytes, what has been read of a file included."""

    def __init__(self, limit: int = SHELF_BYTES) -> None:
        self._limit = limit
        self.used = 0

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more may be kept."""
        return self.used + size <= self._limit


class _Segment:
    """A part of what waits, full at about `size` bytes; its space is given back when all of it has been read."""

    def __init__(self, file: IO[bytes], size: int, shelf: Shelf | None = None) -> None:
        self._file = file
        self._size = size
        self._shelf = shelf
        self._written = 0
        self._taken = 0

    @property
    def full(self) -> bool:
        return self._written >= self._size

    def write(self, data: bytes) -> None:
        self._file.seek(self._written)
        self._written += self._file.write(data)
        if self._shelf:
            self._shelf.used += len(data)

    def read(self) -> bytes:
        """The next piece; it ends with a line where one ends in it. Nothing when all has been read."""
        self._file.seek(self._taken)
        piece = self._file.read(min(_READ, self._written - self._taken))
        piece = piece[: piece.rfind(b"\n") + 1] or piece
        self._taken += len(piece)
        return piece

    def close(self) -> None:
        """Give back the space."""
        self._file.close()
        if self._shelf:
            self._shelf.used -= self._written


class Spool:
    """One writer, one reader, in order. `put` never waits."""

    def __init__(self, shelf: Shelf, limit: int = LIMIT_BYTES) -> None:
        self._shelf = shelf
        self._segments: deque[_Segment] = deque()
        self._limit = limit
        self._kept = 0
        self._ended = False
        self._more = asyncio.Event()

    def put(self, data: bytes) -> None:
        """Keep data for the reader; NotReadError, and nothing kept of it, above a limit."""
        kept = self._kept + len(data)
        if kept > self._limit or (kept > MEMORY_BYTES and not self._shelf.has_room(len(data))):
            raise NotReadError
        self._append(data)

    def end(self, last: bytes = b"") -> None:
        """No more data will come but `last`, which is kept in any case."""
        self._append(last)
        self._ended = True

    def _append(self, data: bytes) -> None:
        if not self._segments or self._segments[-1].full:
            self._segments.append(self._segment())
        self._segments[-1].write(data)
        self._kept += len(data)
        self._more.set()

    def _segment(self) -> _Segment:
        if self._kept < MEMORY_BYTES:
            return _Segment(io.BytesIO(), MEMORY_BYTES)
        return _Segment(tempfile.TemporaryFile(), _FILE_BYTES, self._shelf)

    async def pieces(self) -> AsyncIterator[bytes]:
        """What was put, in pieces, until the end."""
        while True:
            if piece := self._next():
                yield piece
            elif self._ended:
                return
            else:
                self._more.clear()
                await self._more.wait()

    def _next(self) -> bytes:
        while self._segments:
            if piece := self._segments[0].read():
                self._kept -= len(piece)
                return piece
            self._segments.popleft().close()
        return b""

    def close(self) -> None:
        """Delete the temporary files."""
        while self._segments:
            self._segments.popleft().close()
