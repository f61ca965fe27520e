"""The id of each HTTP request: in its response, in its problem and in its log lines, so that people can find them.

A client may choose the id with the header X-Request-ID. Otherwise, and if the client's id is not allowed, it is a UUID.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Final
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.a_number import has_a_number

HEADER: Final = "X-Request-ID"
PATTERN: Final = r"[A-Za-z0-9._-]{1,64}"

_NAME = HEADER.lower().encode()
_is_allowed = re.compile(PATTERN).fullmatch
_current: ContextVar[str | None] = ContextVar("request_id", default=None)


def current() -> str | None:
    """The id of the request that this task processes; None outside of requests."""
    return _current.get()


def choose(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """The client's id if there is exactly one and it is allowed, otherwise a new UUID.

    An id is stored in logs, so text in the form of an A-number is not allowed.
    """
    given = [value.decode("latin-1") for name, value in headers if name == _NAME]
    if len(given) == 1 and _is_allowed(given[0]) and not has_a_number(given[0]):
        return given[0]
    return str(uuid4())


class RequestIds:
    """Middleware that chooses the id of each request and adds it to the response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process one request. After an error the id stays set: the server logs the error in this task."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        chosen = choose(scope["headers"])
        _current.set(chosen)
        field = (_NAME, chosen.encode())

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), field]
            elif not message.get("more_body", False):
                _current.set(None)  # the server may now start the next request of this connection in this context
            await send(message)

        await self._app(scope, receive, answer)
