"""Media types that ingest reads and writes, and their negotiation. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.ingest.body import binary
from services.ingest.body.errors import FramingError
from services.runtime.negotiation import preferred, weight

Headers = Sequence[tuple[bytes, bytes]]

SINGLE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
LINES = "application/x-ndjson"
BINARY = "application/json"
"""With `ce-` headers: an event in CloudEvents binary mode."""

JSON = "application/json"
_STRUCTURED = (SINGLE, BATCH, LINES)
_RESPONSES = (JSON, LINES, "application/problem+json")


def of_body(headers: Headers, by_name: Mapping[bytes, bytes]) -> str:
    """The media type of the request body, without parameters. Raises FramingError 415."""
    media_type = by_name.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    if media_type in _STRUCTURED or (media_type == BINARY and binary.is_binary(headers)):
        return media_type
    detail = f"Content-Type must be {', '.join(_STRUCTURED)}, or {BINARY} with ce- headers."
    raise FramingError(415, "unsupported-media-type", detail)


def check_accept(headers: Headers, response: str) -> None:
    """Raise FramingError 406 if Accept excludes the media type `response`, or allows none that ingest writes."""
    accept = values(headers, b"accept")
    given = weight(accept, response)
    if given == 0 or (given is None and preferred(accept, _RESPONSES) is None):
        raise FramingError(406, "not-acceptable", f"Responses are {JSON} or {LINES}.")


def values(headers: Headers, name: bytes) -> list[str]:
    """The value of each header line with this name."""
    return [value.decode("latin-1") for each, value in headers if each == name]
