"""The response to a stream of NDJSON: receipts are sent while the body is still arriving.

Lines are processed in windows. The next window is read while Kafka acknowledges the last two. So memory holds three
windows and the receipt buffer, however long the body is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

from services.ingest.body.compression import Inflator
from services.ingest.body.errors import CutOffError, FramingError
from services.ingest.body.media_types import LINES
from services.ingest.receipts import Receipt, Summary, encode, encode_lines
from services.ingest.stream.receipt_buffer import ReceiptBuffer, ReceiptBufferFullError
from services.ingest.stream.windows import BeginWindow, StreamEndedError, windows
from services.runtime.logs import get

log = get(__name__)

_IN_FLIGHT = 2
_REST_SECONDS = 300.0
"""How long a client may continue to send after its stream has ended, without reading the response."""
_BUFFER_FULL = (
    "Receipt buffer full. Read receipts while sending, or send at most 10,000 lines in a request. Unread receipts of "
    "other clients count too. Resend events that have no receipt."
)

Send = Callable[[dict[str, Any]], Awaitable[None]]


async def respond(
    pieces: AsyncIterator[bytes],
    inflator: Inflator,
    begin: BeginWindow,
    receipts: ReceiptBuffer,
    send: Send,
    *,
    rest: AsyncIterator[bytes],
) -> None:
    """Process a stream of lines and send the whole response on `send` (ASGI). Closes the receipt buffer at the end.

    The last line is the summary or the error that ended the stream. Without either, the response was cut off. After an
    error, the `rest` of the body is read and discarded, because the client may not read the response until it has sent
    all of it. Raises CutOffError if it does not finish in time.
    """
    await send({"type": "http.response.start", "status": 207, "headers": [(b"content-type", LINES.encode())]})
    returning = asyncio.create_task(_return(receipts, send))
    tasks = [returning]
    try:
        receipts.end(await _take(pieces, inflator, begin, receipts))
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
        receipts.close()


async def _return(receipts: ReceiptBuffer, send: Send) -> None:
    async for piece in receipts.pieces():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drop(rest: AsyncIterator[bytes]) -> None:
    try:
        async with asyncio.timeout(_REST_SECONDS):
            with suppress(CutOffError):
                async for _ in rest:
                    await asyncio.sleep(0)  # let other tasks run, even if the client never pauses
    except TimeoutError:
        raise CutOffError from None


async def _take(pieces: AsyncIterator[bytes], inflator: Inflator, begin: BeginWindow, receipts: ReceiptBuffer) -> bytes:
    """Store all lines and buffer their receipts, in order. Returns the last line; empty if the body was cut off.

    If the receipt buffer is full, no more lines are stored, but the body is read to its end: the client may not read
    the response before that.
    """
    summary = Summary()
    slots = asyncio.Semaphore(_IN_FLIGHT)
    storing: asyncio.Queue[asyncio.Task[list[Receipt]] | None] = asyncio.Queue()
    full = asyncio.Event()

    async def read() -> None:
        try:
            async with aclosing(windows(pieces, inflator, begin)) as judged:
                async for window in judged:
                    await slots.acquire()
                    storing.put_nowait(asyncio.create_task(_nothing() if full.is_set() else window.store()))
        finally:
            storing.put_nowait(None)

    reading = asyncio.create_task(read())
    try:
        while (stored := await storing.get()) is not None:
            _buffer(await stored, receipts, summary, full)
            slots.release()
        await reading
    except (FramingError, StreamEndedError) as error:
        if not full.is_set():
            return _error(error.code, error.detail)
    except CutOffError:
        return b""
    finally:
        await _abandon(reading, storing)
    if full.is_set():
        return _error("receipts-not-read", _BUFFER_FULL)
    return encode({"summary": summary}) + b"\n"


def _buffer(stored: list[Receipt], receipts: ReceiptBuffer, summary: Summary, full: asyncio.Event) -> None:
    if full.is_set():
        return
    try:
        receipts.put(encode_lines(stored))
        summary.add(stored)
    except ReceiptBufferFullError:
        log.warning("receipts-not-read", lines=summary.lines)
        full.set()


async def _nothing() -> list[Receipt]:
    return []


async def _abandon(reading: asyncio.Task[None], storing: asyncio.Queue[asyncio.Task[list[Receipt]] | None]) -> None:
    """Cancel the remaining tasks. Unless there was an error, all have ended."""
    left = [reading]
    while not storing.empty():
        if stored := storing.get_nowait():
            left.append(stored)  # type: ignore[arg-type]  # only cancelled
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def _error(code: str, detail: str) -> bytes:
    return encode({"error": {"code": code, "detail": detail}}) + b"\n"
