"""`/v1/reports/stream`: the messages of the topic `report-ready`, for consumers that cannot reach Kafka.

A stream has a message once it is sent to Kafka, in the order of the topic. So an id stays valid if the database is
restored from a backup: `kept_messages.py` restores the messages from the topic, with their offsets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.publisher.site import event_stream
from services.publisher.site.event_stream import BEGINNING, HEARTBEAT, EventStream
from services.publisher.site.queries import SQL
from services.publisher.site.reader import Reader
from services.publisher.site.responses import ProblemError
from services.runtime import metrics

MAX_STREAMS = 200
"""The maximum number of open streams of a process. It is below the limit on connections of one address."""
POLL_SECONDS = 2.0
"""How long a stream that has sent everything waits before it reads again."""
SHARED_SECONDS = 1.0
"""How long streams at the same position share the result of one statement."""
HEARTBEAT_SECONDS = 15.0
PAGE_BYTES = 262_144
"""The maximum size of the messages that one statement returns. A larger message is returned alone."""

_BAD_ID = "It must be the id of an event of this stream, or `beginning`."
_UNKNOWN_ID = "This stream has no event with this id, or not yet. Connect without the id, or with ?from=beginning."


class Message(NamedTuple):
    """A record of `report-ready`."""

    offset: int
    value: bytes


class AnnouncementStream:
    """The route of the stream. A stream uses a connection to PostgreSQL only while it reads."""

    def __init__(self, reader: Reader, stopping: asyncio.Event) -> None:
        """`stopping` ends all streams."""
        self._reader = reader
        self._stopping = stopping
        self._pages = _SharedPages(self._read)
        self._open = 0

    @property
    def routes(self) -> list[Route]:
        """The route. It must come before `/v1/reports/{name}`."""
        return [self._reader.file("/v1/reports/stream", self.stream, "from")]

    async def stream(self, request: Request) -> Response:
        """The messages after a position, without an end."""
        start = await self._start(request)
        if request.method == "HEAD":
            return EventStream(None, self._stopping)
        if self._open >= MAX_STREAMS:
            detail = f"The maximum of {MAX_STREAMS} streams is open; retry later, or read /v1/reports."
            raise ProblemError(503, "too-many-streams", detail, {"Retry-After": "60"})
        self._count(1)
        return EventStream(self._events(start), self._stopping, lambda: self._count(-1))

    def _count(self, change: int) -> None:
        self._open += change
        metrics.STREAMS.inc(change)

    async def _start(self, request: Request) -> int:
        """The position at which a stream begins. ProblemError 400 if the client names one that does not exist."""
        named = _named(request)
        row = await self._reader.row(SQL["last_announced"])
        last = BEGINNING if row is None or row["last"] is None else int(row["last"])
        if named is None:
            return last
        if named > last:
            raise ProblemError(400, "unknown-event-id", _UNKNOWN_ID)
        return named

    async def _events(self, at: int) -> AsyncGenerator[bytes, None]:
        """The text of a stream from a position on."""
        clock = asyncio.get_running_loop().time
        yield event_stream.opening(at)
        written = clock()
        while True:
            messages = await self._pages.after(at)
            for message in messages:
                for piece in event_stream.pieces(event_stream.event(*message)):
                    yield piece
                at, written = message.offset, clock()
            if not messages:
                await asyncio.sleep(POLL_SECONDS)
                if clock() - written >= HEARTBEAT_SECONDS:
                    yield HEARTBEAT
                    written = clock()

    async def _read(self, at: int) -> Sequence[Message]:
        """The next messages; none while PostgreSQL is unavailable. The stream waits, and its client loses nothing."""
        try:
            rows = await self._reader.rows(SQL["announced_after"], at, PAGE_BYTES)
        except Exception as error:
            self._reader.note_failure(error)
            return ()
        self._reader.note_success()
        return [Message(row["sent_offset"], row["value"]) for row in rows]


def _named(request: Request) -> int | None:
    """The position that a request names, or None. The header wins: a client reconnects to the same address."""
    given = [one for one in request.headers.getlist("last-event-id") if one]
    given = given or request.query_params.getlist("from")
    if not given:
        return None
    if len(given) > 1 or (at := event_stream.position(given[0])) is None:
        raise ProblemError(400, "bad-event-id", _BAD_ID)
    return at


class _SharedPages:
    """Pages of messages by position. All streams at one position share a statement."""

    def __init__(self, read: Callable[[int], Awaitable[Sequence[Message]]]) -> None:
        self._read = read
        self._pages: dict[int, tuple[float, asyncio.Future[Sequence[Message]]]] = {}

    async def after(self, at: int) -> Sequence[Message]:
        """The messages after a position, as of at most SHARED_SECONDS ago."""
        now = asyncio.get_running_loop().time()
        self._pages = {
            key: (began, page)
            for key, (began, page) in self._pages.items()
            if not page.done() or now - began < SHARED_SECONDS
        }
        if at not in self._pages:
            self._pages[at] = now, asyncio.ensure_future(self._read(at))
        return await asyncio.shield(self._pages[at][1])
