"""All routes for readers: pages, files and feeds, from the published reports."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from starlette.routing import Route

from services.publisher.site.about import About
from services.publisher.site.announcement_stream import AnnouncementStream
from services.publisher.site.codes import Codes
from services.publisher.site.files import Files
from services.publisher.site.guide import Guide
from services.publisher.site.places import Places
from services.publisher.site.reader import Reader
from services.publisher.site.reader_pool import Connect
from services.publisher.site.weeks import Weeks
from services.runtime.clock import Clock


class Site:
    """The routes for readers. Any number of processes can serve them."""

    def __init__(self, connect: Connect, about: About, clock: Clock, stopping: asyncio.Event | None = None) -> None:
        """`stopping` ends endless responses."""
        self._reader = Reader(connect)
        self.routes: list[Route] = [
            *AnnouncementStream(self._reader, stopping or asyncio.Event()).routes,
            *Weeks(self._reader, about).routes,
            *Places(self._reader, about).routes,
            *Guide(self._reader, about, clock).routes,
            *Files(self._reader).routes,
            *Codes(self._reader).routes,
        ]

    def connected(self) -> AbstractAsyncContextManager[None]:
        """Keep the connections of the routes open. Use it for the lifetime of the service."""
        return self._reader.connected()

    async def waiting_for(self) -> str | None:
        """None if reports can be read, else the problem."""
        return await self._reader.waiting_for()
