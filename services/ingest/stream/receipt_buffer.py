"""Unread receipts of a stream: buffered in memory, then in temporary files, up to two limits.

One limit applies to each stream, the other to the files of all streams in this process, because /tmp may be memory too.
A client that reads in time needs no file, so the receipts that others leave unread do not affect it.

Many HTTP libraries send the whole body before they read the response. The buffer lets ingest read such a body without a
deadlock.
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
DISK_BYTES = 128 * 1_048_576
_FILE_BYTES = 16 * 1_048_576
_READ = 65_536


class ReceiptBufferFullError(Exception):
    """The unread receipts of this stream, or of all streams, have reached their limit."""


class DiskBudget:
    """The size limit for the temporary files of all receipt buffers.

    `used` is in bytes. It includes the parts of a file that were read, because a file is deleted only as a whole.
    """

    def __init__(self, limit: int = DISK_BYTES) -> None:
        self._limit = limit
        self.used = 0

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes fit."""
        return self.used + size <= self._limit


class _Segment:
    """A part of the buffer, full at about `size` bytes. It is freed when all of it has been read."""

    def __init__(self, file: IO[bytes], size: int, budget: DiskBudget | None = None) -> None:
        self._file = file
        self._size = size
        self._budget = budget
        self._written = 0
        self._taken = 0

    @property
    def full(self) -> bool:
        return self._written >= self._size

    def write(self, data: bytes) -> None:
        self._file.seek(self._written)
        self._written += self._file.write(data)
        if self._budget:
            self._budget.used += len(data)

    def read(self) -> bytes:
        """The next piece, which ends with a line break if it contains one; empty if all data has been read."""
        self._file.seek(self._taken)
        piece = self._file.read(min(_READ, self._written - self._taken))
        piece = piece[: piece.rfind(b"\n") + 1] or piece
        self._taken += len(piece)
        return piece

    def close(self) -> None:
        """Free the space."""
        self._file.close()
        if self._budget:
            self._budget.used -= self._written


class ReceiptBuffer:
    """A first-in, first-out buffer with one writer and one reader. `put` never waits."""

    def __init__(self, budget: DiskBudget, limit: int = LIMIT_BYTES) -> None:
        self._budget = budget
        self._segments: deque[_Segment] = deque()
        self._limit = limit
        self._unread = 0
        self._ended = False
        self._more = asyncio.Event()

    def put(self, data: bytes) -> None:
        """Add data for the reader. Raises ReceiptBufferFullError, and adds nothing, above a limit."""
        unread = self._unread + len(data)
        if unread > self._limit or (unread > MEMORY_BYTES and not self._budget.has_room(len(data))):
            raise ReceiptBufferFullError
        self._append(data)

    def end(self, last: bytes = b"") -> None:
        """Add `last`, regardless of the limits, and end the data."""
        self._append(last)
        self._ended = True

    def _append(self, data: bytes) -> None:
        if not self._segments or self._segments[-1].full:
            self._segments.append(self._segment())
        self._segments[-1].write(data)
        self._unread += len(data)
        self._more.set()

    def _segment(self) -> _Segment:
        if self._unread < MEMORY_BYTES:
            return _Segment(io.BytesIO(), MEMORY_BYTES)
        return _Segment(tempfile.TemporaryFile(), _FILE_BYTES, self._budget)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The data in pieces, until the end. Waits for more."""
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
                self._unread -= len(piece)
                return piece
            self._segments.popleft().close()
        return b""

    def close(self) -> None:
        """Delete the temporary files."""
        while self._segments:
            self._segments.popleft().close()
