"""NDJSON of any length, streamed both ways: receipts go back while the body is still coming.

Lines are judged in windows; while Kafka acknowledges two of them, the next is read. Memory holds three windows and the
receipts that wait to be read (see `spool.py`), however long the body is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import aclosing
from typing import Any

from schemas.acceptance import MAX_EVENT_BYTES
from services.ingest import intake
from services.ingest.framing import LINES, FramingError, Inflator, Lines
from services.ingest.intake import Accepted
from services.ingest.receipts import Receipt, Summary, encode, encode_lines
from services.ingest.spool import NotReadError, Spool
from services.runtime.logs import get

log = get(__name__)

LINE_SECONDS = 300.0
"""How long a client may leave us waiting before a line ends, an empty one too."""
WINDOW = 1_000
_IN_FLIGHT = 2
_MOMENT = 0.05

Judge = Callable[[int, bytes], Accepted | Receipt]
Store = Callable[[list[Accepted | Receipt]], Coroutine[Any, Any, list[Receipt]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class CutOffError(Exception):
    """The body ended before its end: the client went away, or this process is to stop."""


async def answer(pieces: AsyncIterator[bytes], inflator: Inflator, judge: Judge, store: Store, send: Send) -> None:
    """Answer a stream of lines on `send` (ASGI), the response's start included.

    The last line is the summary, or names the error that ended the stream; without either the answer is cut off.
    """
    await send({"type": "http.response.start", "status": 207, "headers": [(b"content-type", LINES.encode())]})
    spool = Spool()
    returning = asyncio.create_task(_return(spool, send))
    try:
        spool.end(await _take(pieces, inflator, judge, store, spool))
        await returning
    finally:
        returning.cancel()
        await asyncio.gather(returning, return_exceptions=True)
        spool.close()


async def _return(spool: Spool, send: Send) -> None:
    async for piece in spool.pieces():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _take(pieces: AsyncIterator[bytes], inflator: Inflator, judge: Judge, store: Store, spool: Spool) -> bytes:
    """Put the receipts of all lines on the spool, in order; answers the last line, nothing when cut off.

    When the client leaves too many receipts unread nothing more is stored, but its body is read to the end: it may be
    one that reads only then.
    """
    summary = Summary()
    places = asyncio.Semaphore(_IN_FLIGHT)
    windows: asyncio.Queue[asyncio.Task[list[Receipt]] | None] = asyncio.Queue()
    unread = asyncio.Event()

    async def read() -> None:
        try:
            async with aclosing(_judged(pieces, inflator, judge)) as judged:
                async for window in judged:
                    await places.acquire()
                    windows.put_nowait(asyncio.create_task(_nothing() if unread.is_set() else store(window)))
        finally:
            windows.put_nowait(None)

    reading = asyncio.create_task(read())
    try:
        while (storing := await windows.get()) is not None:
            _hand_back(await storing, spool, summary, unread)
            places.release()
        await reading
    except FramingError as error:
        if not unread.is_set():
            return _error(error.code, error.detail)
    except CutOffError:
        return b""
    finally:
        await _abandon(reading, windows)
    if unread.is_set():
        return _error("receipts-not-read", "read receipts while you send, or send at most 10,000 lines a request")
    return encode({"summary": summary}) + b"\n"


def _hand_back(receipts: list[Receipt], spool: Spool, summary: Summary, unread: asyncio.Event) -> None:
    if unread.is_set():
        return
    try:
        spool.put(encode_lines(receipts))
        summary.add(receipts)
    except NotReadError:
        log.warning("receipts-not-read", lines=summary.lines)
        unread.set()


async def _nothing() -> list[Receipt]:
    return []


async def _abandon(reading: asyncio.Task[None], windows: asyncio.Queue[asyncio.Task[list[Receipt]] | None]) -> None:
    """Leave no task behind; all have ended already unless something failed."""
    left = [reading]
    while not windows.empty():
        if storing := windows.get_nowait():
            left.append(storing)  # type: ignore[arg-type]  # only cancelled
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def _error(code: str, detail: str) -> bytes:
    return encode({"error": {"code": code, "detail": detail}}) + b"\n"


async def _judged(
    pieces: AsyncIterator[bytes], inflator: Inflator, judge: Judge
) -> AsyncGenerator[list[Accepted | Receipt], None]:
    """Judged lines in windows of at most WINDOW; a smaller one when no more comes for a moment, or at the end."""
    lines = Lines()
    window: list[Accepted | Receipt] = []
    clock, waited = asyncio.get_running_loop().time, 0.0
    coming = asyncio.ensure_future(anext(pieces, None))
    try:
        while True:
            if window and not (await asyncio.wait({coming}, timeout=_MOMENT))[0]:
                yield window
                window = []
            asked = clock()
            piece = await _within(LINE_SECONDS - waited, coming)
            waited += clock() - asked
            if piece is None:
                break
            coming = asyncio.ensure_future(anext(pieces, None))
            for plain in inflator.feed(piece):
                waited = 0.0 if b"\n" in plain else waited
                for one in _judge_all(lines.feed(plain), judge):
                    window.append(one)
                    if len(window) == WINDOW:
                        yield window
                        window = []
        inflator.finish()
        window.extend(_judge_all(lines.finish(), judge))
        if window:
            yield window
    except (CutOffError, FramingError):
        if window:
            yield window
        raise
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


async def _within(seconds: float, coming: asyncio.Future[bytes | None]) -> bytes | None:
    """What comes in time; FramingError when nothing does."""
    if not coming.done() and not (await asyncio.wait({coming}, timeout=max(0.0, seconds)))[0]:
        raise FramingError(408, "too-slow", f"no line has ended for {LINE_SECONDS:.0f} seconds")
    return await coming


def _judge_all(lines: Iterable[tuple[int, bytes | None]], judge: Judge) -> Iterable[Accepted | Receipt]:
    for number, text in lines:
        yield intake.too_long(number, MAX_EVENT_BYTES) if text is None else judge(number, text)
