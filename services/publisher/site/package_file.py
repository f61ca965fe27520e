"""The archive `datapackage.zip`, written to a temporary file without a name, one piece of a data file at a time.

The newest archive stays open and is made once for all clients. Same reports, same bytes: the archive contains no clock.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
import weakref
from collections.abc import AsyncIterator
from typing import IO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from services.publisher.site import data_package
from services.publisher.site.all_weeks import AllWeeks, Tip
from services.publisher.site.data_package import Written
from services.publisher.site.downloads import all_of
from services.publisher.site.responses import ProblemError

WAIT_SECONDS = 60.0
"""How long a client waits while the archive is made for another client."""
PIECE_BYTES = 262_144
"""How much of the file is read at a time, for each client."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that an archive can contain."""
_MODE = 0o100644 << 16
_UNIX = 3
_IN_PROGRESS = ProblemError(
    503, "data-package-in-progress", "The data package is being made; retry later.", {"Retry-After": "30"}
)


class PackageFile:
    """An archive on disk. Any number of readers read it, each at its own position. The last one frees the space."""

    def __init__(self, tag: str, file: IO[bytes]) -> None:
        self.tag = tag
        self.length = file.seek(0, os.SEEK_END)
        self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The content."""
        for offset in range(0, self.length, PIECE_BYTES):
            yield await asyncio.to_thread(os.pread, self._descriptor, PIECE_BYTES, offset)


async def write(weeks: AllWeeks, tip: Tip, file: IO[bytes]) -> None:
    """Write the archive up to a tip. Compression runs in other threads, so other readers are served meanwhile."""
    written: dict[str, Written] = {}
    with ZipFile(file, "w", ZIP_DEFLATED) as made:
        await _add(made, data_package.README, all_of(data_package.readme()))
        for name, pieces in {
            data_package.FIGURES: weeks.figures(tip, newest=True),
            data_package.REVISIONS: weeks.figures(tip, newest=False),
            data_package.WEEKS: weeks.revisions(tip),
            data_package.JURISDICTIONS: all_of(data_package.jurisdictions()),
        }.items():
            written[name] = await _add(made, data_package.file_name(name), pieces)
        description = data_package.describe(written, sequence=tip.sequence, created=tip.published_at)
        text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
        await _add(made, data_package.DESCRIPTION, all_of(text.encode()))


async def _add(made: ZipFile, name: str, pieces: AsyncIterator[bytes]) -> Written:
    """Write one file. Its length is not known before, so the entry has the form for large files (Zip64)."""
    entry = ZipInfo(name, _EPOCH)
    entry.compress_type = ZIP_DEFLATED
    entry.create_system, entry.external_attr = _UNIX, _MODE
    length, digest = 0, hashlib.sha256()
    with made.open(entry, "w", force_zip64=True) as out:
        async for piece in pieces:
            await asyncio.to_thread(out.write, piece)
            digest.update(piece)
            length += len(piece)
    return Written(length, digest.hexdigest())


class PackageFiles:
    """The newest archive, made when a client first requests it. Concurrent clients wait for one that makes it."""

    def __init__(self, weeks: AllWeeks) -> None:
        self._weeks = weeks
        self._making = asyncio.Lock()
        self._newest: PackageFile | None = None

    async def get(self, tip: Tip, tag: str) -> PackageFile:
        """The archive with this tag. If it is not the newest, it is made for this client.

        ProblemError 503 if it is still being made for another client after WAIT_SECONDS.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._making.acquire()
        except TimeoutError:
            raise _IN_PROGRESS from None
        try:
            if self._newest is None or self._newest.tag != tag:
                with tempfile.TemporaryFile() as file:
                    await write(self._weeks, tip, file)
                    self._newest = PackageFile(tag, file)
            return self._newest
        finally:
            self._making.release()
