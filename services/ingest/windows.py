"""The lines of a stream, judged in windows as they come.

A window is judged by what holds when it begins: a stream may last for days, and the clock, the key and the scope of
its agency change meanwhile. It ends at a number of lines, of bytes or of seconds, so that neither memory nor the time
until its receipts grow with what the client sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from itertools import chain
from typing import Any, NamedTuple

from schemas.acceptance import MAX_EVENT_BYTES
from services.ingest import intake
from services.ingest.framing import FramingError, Inflator, Lines
from services.ingest.intake import Judged
from services.ingest.receipts import Receipt

LINE_SECONDS = 300.0
"""How long a client may leave us waiting before a line ends, an empty one too."""
WINDOW = 1_000
WINDOW_BYTES = 1_048_576
WINDOW_SECONDS = 1.0
_MOMENT = 0.05

Line = tuple[int, bytes | None]
"""Its number, from 1, and what is in it; None when that is too long."""
Judge = Callable[[int, bytes], Judged]
Store = Callable[[list[Judged]], Coroutine[Any, Any, list[Receipt]]]


class Turn(NamedTuple):
    """What holds for one window: how many lines it may have, at least one, and who judges and stores them."""

    lines: int
    judge: Judge
    store: Store


Begin = Callable[[], Awaitable[Turn]]
"""Called for each window, with its first line at hand; may wait, and end the stream."""


class CutOffError(Exception):
    """The body ended before its end: the client went away, or this process is to stop."""


class StreamEndedError(Exception):
    """We end a stream whose body could go on. `code` is stable, the message says why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Window:
    """Judged lines, and how to store them."""

    def __init__(self, turn: Turn, ends_at: float) -> None:
        self.judged: list[Judged] = []
        self.ends_at = ends_at
        self.full = False
        self._turn = turn
        self._bytes = 0

    def fill(self, first: Line, more: Iterator[Line]) -> None:
        """Judge a line, and those behind it until there are no more or the window is full."""
        most, judge, judged, size = self._turn.lines, self._turn.judge, self.judged, self._bytes
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
        """A receipt for each line, in order, once those that are accepted are stored."""
        return self._turn.store(self.judged)


async def windows(pieces: AsyncIterator[bytes], inflator: Inflator, begin: Begin) -> AsyncGenerator[Window, None]:
    """The lines of a body in windows; a small one when no more comes for a moment, at the end, and before an error."""
    clock = asyncio.get_running_loop().time
    reader = _Reader(pieces, inflator)
    window: Window | None = None
    try:
        while not reader.ended:
            found = await reader.lines(_MOMENT if window else None)
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
    """Reads a body piece by piece, one ahead; `ended` when all its lines have been handed over."""

    def __init__(self, pieces: AsyncIterator[bytes], inflator: Inflator) -> None:
        self.ended = False
        self._pieces = pieces
        self._inflator = inflator
        self._cutter = Lines()
        self._inflated: Iterator[bytes] = iter(())
        self._waited = 0.0
        self._coming = self._next()

    def _next(self) -> asyncio.Future[bytes | None]:
        return asyncio.ensure_future(anext(self._pieces, None))

    async def lines(self, patience: float | None) -> Iterator[Line] | None:
        """The next complete lines, maybe none; None when nothing comes for `patience` seconds.

        They are cut as they are asked for: ask for all of them before the next.
        """
        for plain in self._inflated:
            await asyncio.sleep(0)  # little can expand to much, and much to no line: others have their turn
            if b"\n" in plain:
                self._waited = 0.0
            return self._cutter.feed(plain)
        if patience is not None and not (await asyncio.wait({self._coming}, timeout=patience))[0]:
            return None
        piece = await self._piece()
        if piece is None:
            self._inflator.finish()
            self.ended = True
            return self._cutter.finish()
        self._coming = self._next()
        self._inflated = self._inflator.feed(piece)
        return iter(())

    async def _piece(self) -> bytes | None:
        """What comes in time; FramingError when nothing does. Time in which nobody asks is not the client's."""
        clock = asyncio.get_running_loop().time
        asked, left = clock(), max(0.0, LINE_SECONDS - self._waited)
        if not self._coming.done() and not (await asyncio.wait({self._coming}, timeout=left))[0]:
            raise FramingError(408, "too-slow", f"no line has ended for {LINE_SECONDS:.0f} seconds")
        self._waited += clock() - asked
        return await self._coming

    async def close(self) -> None:
        """Ask for nothing more."""
        self._coming.cancel()
        await asyncio.gather(self._coming, return_exceptions=True)
