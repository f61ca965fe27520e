"""Divides the lines of a stream into windows and judges them as they arrive.

The context of a window (time, agency, scope) is read when the window begins, because a stream may last for days. A
window ends after a number of lines, bytes or seconds. This bounds memory, and the time until its receipts are sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from itertools import chain
from typing import Any, NamedTuple

from schemas.acceptance import MAX_EVENT_BYTES
from services.ingest import intake
from services.ingest.body.compression import Inflator
from services.ingest.body.errors import CutOffError, FramingError
from services.ingest.body.ndjson import Line, LineSplitter
from services.ingest.intake import Judged
from services.ingest.receipts import Receipt

LINE_SECONDS = 300.0
"""Timeout for the end of a line. An empty line is enough."""
WINDOW = 1_000
"""Maximum number of lines in a window."""
WINDOW_BYTES = 1_048_576
WINDOW_SECONDS = 1.0
_PAUSE_SECONDS = 0.05
"""A window also ends when the client sends nothing for this long, so that its receipts are not delayed."""

Judge = Callable[[int, bytes], Judged]
Store = Callable[[list[Judged]], Coroutine[Any, Any, list[Receipt]]]


class WindowContext(NamedTuple):
    """The maximum number of lines of one window (at least one), and the functions that judge and store them."""

    lines: int
    judge: Judge
    store: Store


BeginWindow = Callable[[], Awaitable[WindowContext]]
"""Called for each window when its first line has arrived. May wait, and may end the stream."""


class StreamEndedError(Exception):
    """Ingest ends a stream before its body ends. `code` is the stable error code, `detail` the reason."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Window:
    """Judged lines that are stored together."""

    def __init__(self, context: WindowContext, ends_at: float) -> None:
        self.judged: list[Judged] = []
        self.ends_at = ends_at
        self.full = False
        self._context = context
        self._bytes = 0

    def fill(self, first: Line, more: Iterator[Line]) -> None:
        """Judge `first`, then lines of `more` until it is exhausted or the window is full."""
        most, judge, judged, size = self._context.lines, self._context.judge, self.judged, self._bytes
        for number, text in chain((first,), more):
            if text is None:
                judged.append(intake.too_long(number, MAX_EVENT_BYTES))
            else:
                judged.append(judge(number, text))
                size += len(text)
            if len(judged) >= most or size >= WINDOW_BYTES:
                self.full = True
                break
        self._bytes = size

    def store(self) -> Coroutine[Any, Any, list[Receipt]]:
        """Store the accepted lines; returns a receipt for each line, in order."""
        return self._context.store(self.judged)


async def windows(pieces: AsyncIterator[bytes], inflator: Inflator, begin: BeginWindow) -> AsyncGenerator[Window, None]:
    """The lines of a body in windows. A window is shorter at a pause of the client, at the end and before an error."""
    clock = asyncio.get_running_loop().time
    reader = _Reader(pieces, inflator)
    window: Window | None = None
    try:
        while not reader.ended:
            found = await reader.lines(_PAUSE_SECONDS if window else None)
            lines = found or iter(())
            for line in lines:
                if window is None:
                    window = Window(await begin(), clock() + WINDOW_SECONDS)
                window.fill(line, lines)
                if window.full:
                    yield window
                    window = None
            if window and (found is None or clock() >= window.ends_at):
                yield window
                window = None
        if window:
            yield window
    except (CutOffError, FramingError):
        if window:
            yield window
        raise
    finally:
        await reader.close()


class _Reader:
    """Reads a body one piece ahead. `ended` is set when all lines have been returned."""

    def __init__(self, pieces: AsyncIterator[bytes], inflator: Inflator) -> None:
        self.ended = False
        self._pieces = pieces
        self._inflator = inflator
        self._splitter = LineSplitter()
        self._inflated: Iterator[bytes] = iter(())
        self._waited = 0.0
        self._coming = self._next()

    def _next(self) -> asyncio.Future[bytes | None]:
        return asyncio.ensure_future(anext(self._pieces, None))

    async def lines(self, seconds: float | None) -> Iterator[Line] | None:
        """The next complete lines, possibly none; None if no piece arrives within `seconds`.

        The iterator is lazy: exhaust it before the next call.
        """
        for plain in self._inflated:
            await asyncio.sleep(0)  # a small piece can expand to much data, or to no lines: let other tasks run
            if b"\n" in plain:
                self._waited = 0.0
            return self._splitter.feed(plain)
        if seconds is not None and not (await asyncio.wait({self._coming}, timeout=seconds))[0]:
            return None
        piece = await self._piece()
        if piece is None:
            self._inflator.finish()
            self.ended = True
            return self._splitter.finish()
        self._coming = self._next()
        self._inflated = self._inflator.feed(piece)
        return iter(())

    async def _piece(self) -> bytes | None:
        """The next piece. Raises FramingError on timeout. Only time spent waiting for the client counts."""
        clock = asyncio.get_running_loop().time
        started, left = clock(), max(0.0, LINE_SECONDS - self._waited)
        if not self._coming.done() and not (await asyncio.wait({self._coming}, timeout=left))[0]:
            raise FramingError(408, "too-slow", f"no line has ended for {LINE_SECONDS:.0f} seconds")
        self._waited += clock() - started
        return await self._coming

    async def close(self) -> None:
        """Stop reading."""
        self._coming.cancel()
        await asyncio.gather(self._coming, return_exceptions=True)
