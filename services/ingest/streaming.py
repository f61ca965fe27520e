"""NDJSON of any length, streamed both ways: receipts go back while the body is still coming.

Lines are judged in windows; while Kafka acknowledges two of them, the next is read. Memory holds three windows and the
receipts that wait to be read (see `spool.py`), however long the body is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

from services.ingest.framing import LINES, FramingError, Inflator
from services.ingest.receipts import Receipt, Summary, encode, encode_lines
from services.ingest.spool import NotReadError, Spool
from services.ingest.windows import Begin, CutOffError, StreamEndedError, windows
from services.runtime.logs import get

log = get(__name__)

_IN_FLIGHT = 2
_REST_SECONDS = 300.0
"""How long a client may go on sending, behind the end of its stream, without reading why it has ended."""
_NOT_READ = (
    "more receipts are unread than are kept, yours or with those of other clients; send again what has none, "
    "and read receipts while you send, or send at most 10,000 lines a request"
)

Send = Callable[[dict[str, Any]], Awaitable[None]]


async def answer(
    pieces: AsyncIterator[bytes],
    inflator: Inflator,
    begin: Begin,
    spool: Spool,
    send: Send,
    *,
    rest: AsyncIterator[bytes],
) -> None:
    """Answer a stream of lines on `send` (ASGI), the response's start included. The spool is closed behind it.

    The last line is the summary, or names the error that ended the stream; without either the answer is cut off. After
    an error the `rest` of the body is thrown away, for the client may be one that reads only then; CutOffError when it
    does not come to that in time.
    """
    await send({"type": "http.response.start", "status": 207, "headers": [(b"content-type", LINES.encode())]})
    returning = asyncio.create_task(_return(spool, send))
    tasks = [returning]
    try:
        spool.end(await _take(pieces, inflator, begin, spool))
        dropping = asyncio.create_task(_drop(rest))
        tasks.append(dropping)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if dropping.done():
            dropping.result()
        await returning
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        spool.close()


async def _return(spool: Spool, send: Send) -> None:
    async for piece in spool.pieces():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drop(rest: AsyncIterator[bytes]) -> None:
    try:
        async with asyncio.timeout(_REST_SECONDS):
            with suppress(CutOffError):
                async for _ in rest:
                    await asyncio.sleep(0)  # a client that never pauses holds up nobody
    except TimeoutError:
        raise CutOffError from None


async def _take(pieces: AsyncIterator[bytes], inflator: Inflator, begin: Begin, spool: Spool) -> bytes:
    """Put the receipts of all lines on the spool, in order; answers the last line, nothing when cut off.

    When too many receipts are unread, of this client or of all, nothing more is stored, but the body is read to
    its end: the client may be one that reads only then.
    """
    summary = Summary()
    places = asyncio.Semaphore(_IN_FLIGHT)
    storing: asyncio.Queue[asyncio.Task[list[Receipt]] | None] = asyncio.Queue()
    unread = asyncio.Event()

    async def read() -> None:
        try:
            async with aclosing(windows(pieces, inflator, begin)) as judged:
                async for window in judged:
                    await places.acquire()
                    storing.put_nowait(asyncio.create_task(_nothing() if unread.is_set() else window.store()))
        finally:
            storing.put_nowait(None)

    reading = asyncio.create_task(read())
    try:
        while (stored := await storing.get()) is not None:
            _hand_back(await stored, spool, summary, unread)
            places.release()
        await reading
    except (FramingError, StreamEndedError) as error:
        if not unread.is_set():
            return _error(error.code, error.detail)
    except CutOffError:
        return b""
    finally:
        await _abandon(reading, storing)
    if unread.is_set():
        return _error("receipts-not-read", _NOT_READ)
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


async def _abandon(reading: asyncio.Task[None], storing: asyncio.Queue[asyncio.Task[list[Receipt]] | None]) -> None:
    """Leave no task behind; all have ended already unless something failed."""
    left = [reading]
    while not storing.empty():
        if stored := storing.get_nowait():
            left.append(stored)  # type: ignore[arg-type]  # only cancelled
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def _error(code: str, detail: str) -> bytes:
    return encode({"error": {"code": code, "detail": detail}}) + b"\n"
