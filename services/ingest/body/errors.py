"""Errors of a request body."""

from __future__ import annotations


class FramingError(Exception):
    """The request or its body cannot be processed.

    `status` is the HTTP status, `code` the stable error code, `detail` the rule that the request breaks.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail


class CutOffError(Exception):
    """The body is incomplete: the client disconnected, or this process is stopping."""
