"""A strict parser of server-sent events (WHATWG HTML, section 9.2.6), and a client that resumes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import httpx

_SECONDS = 60.0


class Event(NamedTuple):
    """A dispatched event."""

    id: str
    type: str
    data: bytes


class Parser:
    """Turns bytes into events. Lines end with LF, as this server writes them; any other form fails."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._type = b""
        self._id = b""
        self.last_event_id = ""
        self.retry = 0
        self.heartbeats = 0

    def feed(self, received: bytes) -> Iterator[Event]:
        """The events that these bytes complete."""
        *lines, self._rest = (self._rest + received).split(b"\n")
        for line in lines:
            assert b"\r" not in line
            if line:
                self._take(line)
                continue
            self.last_event_id = self._id.decode()
            if self._data:
                yield Event(self.last_event_id, self._type.decode() or "message", b"\n".join(self._data))
            self._data, self._type = [], b""

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"":
                self.heartbeats += 1
            case b"data":
                self._data.append(value)
            case b"event":
                self._type = value
            case b"id":
                self._id = value
            case b"retry":
                self.retry = int(value)
            case _:
                raise AssertionError(line)


class EventSource:
    """A client of one stream. Each `events` reconnects with the last id, as a browser does."""

    def __init__(self, http: httpx.AsyncClient, path: str = "/v1/reports/stream?from=beginning") -> None:
        self._http = http
        self._path = path
        self.last_event_id = ""

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[AsyncIterator[Event]]:
        """Connect, and yield the events of this connection."""
        headers = {"Last-Event-ID": self.last_event_id} if self.last_event_id else {}
        async with self._http.stream("GET", self._path, headers=headers, timeout=_SECONDS) as response:
            assert response.status_code == 200, await response.aread()
            assert response.headers["content-type"] == "text/event-stream"
            yield self._events(response)

    async def _events(self, response: httpx.Response) -> AsyncIterator[Event]:
        parser = Parser()
        async for piece in response.aiter_raw():
            for event in parser.feed(piece):
                self.last_event_id = event.id
                yield event
            self.last_event_id = parser.last_event_id or self.last_event_id

    async def take(self, count: int) -> list[Event]:
        """Connect, read this many events, and disconnect."""
        found: list[Event] = []
        async with self.connected() as events:
            async for event in events:
                found.append(event)
                if len(found) == count:
                    break
        return found
