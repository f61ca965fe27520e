"""Responses of any length, sent piece by piece. A response that cannot be completed is cut off, never ended early."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from services.publisher.site.reader_pool import TooManyReadersError
from services.publisher.site.responses import NOSNIFF
from services.runtime import error_messages
from services.runtime.errors import InvariantError
from services.runtime.logs import get

log = get(__name__)


class Download(StreamingResponse):
    """A body in pieces. If their source fails, the connection is closed: the client sees an incomplete body."""

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        media_type: str,
        headers: Mapping[str, str],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """`ended` is called once, at the end of the response."""
        super().__init__(pieces, headers={**NOSNIFF, **headers}, media_type=media_type)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()

    async def stream_response(self, send: Send) -> None:
        """Send the pieces. An external failure is logged in one line."""
        try:
            await super().stream_response(send)
        except Exception as error:
            is_busy = isinstance(error, TooManyReadersError)
            why = "no connection to PostgreSQL became free" if is_busy else error_messages.message(error)
            if why is None or isinstance(error, InvariantError):
                raise
            log.warning("download-cut-off", error=type(error).__name__, reason=why)


async def all_of(*pieces: bytes) -> AsyncIterator[bytes]:
    """These pieces."""
    for piece in pieces:
        yield piece
