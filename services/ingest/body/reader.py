"""Reads the body of one request from the server (ASGI)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, MutableMapping
from typing import Any

from services.ingest.body.compression import Inflator
from services.ingest.body.errors import CutOffError, FramingError
from services.ingest.body.ndjson import BOM

Receive = Callable[[], Coroutine[Any, Any, MutableMapping[str, Any]]]

MAX_BODY_BYTES = 1_048_576
BODY_SECONDS = 20.0
"""Timeout for the body of an event or a batch: 1 MB at 50 kB a second."""


class BodyReader:
    """The body of one request. Several calls of `pieces` continue one another until the body ends."""

    def __init__(self) -> None:
        self._more = True

    async def pieces(self, receive: Receive) -> AsyncIterator[bytes]:
        """The pieces that have not been read yet. Raises CutOffError if the client disconnects."""
        while self._more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise CutOffError
            self._more = message.get("more_body", False)
            if piece := message.get("body", b""):
                yield piece


async def read_all(receive: Receive, content_length: bytes, inflator: Inflator) -> bytes:
    """The whole body, decompressed, of at most MAX_BODY_BYTES and within BODY_SECONDS. Raises FramingError."""
    if content_length.isdigit() and int(content_length) > MAX_BODY_BYTES:
        raise _too_large()
    body, received = bytearray(), False
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in BodyReader().pieces(receive):
                received = True
                for plain in inflator.feed(piece):
                    await asyncio.sleep(0)  # input that expands to nothing takes time too: let other tasks run
                    body += plain
                    if len(body) > MAX_BODY_BYTES:
                        raise _too_large()
    except TimeoutError:
        detail = f"The body of an event or a batch must arrive within {BODY_SECONDS:.0f} seconds."
        raise FramingError(408, "too-slow", detail) from None
    if received:
        inflator.finish()
    if not (plain := bytes(body).removeprefix(BOM)):
        raise FramingError(400, "empty-body", "The body is empty; send an event.")
    return plain


def _too_large() -> FramingError:
    return FramingError(413, "too-large", f"A body has at most {MAX_BODY_BYTES:,} bytes.")
