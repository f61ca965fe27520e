"""A batch: the elements of a JSON array, or NDJSON that is stored all or nothing. Pure."""

from __future__ import annotations

from itertools import chain, islice

import msgspec

from services.ingest.body.errors import FramingError
from services.ingest.body.media_types import LINES
from services.ingest.body.ndjson import Line, LineSplitter

MAX_BATCH = 1_000


def events(media_type: str, body: bytes) -> list[Line]:
    """The events of a batch with their numbers, from 1; None for a line that is too long. Raises FramingError."""
    return split_lines(body) if media_type == LINES else list(enumerate(split(body), start=1))


def split(body: bytes) -> list[bytes]:
    """The bytes of each element of a JSON array. Raises FramingError if it is not an array or has too many."""
    try:
        elements = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        raise FramingError(400, "not-a-batch", "the body must be a JSON array of CloudEvents") from None
    if len(elements) > MAX_BATCH:
        raise _too_many()
    return [bytes(element) for element in elements]


def split_lines(body: bytes) -> list[Line]:
    """All lines of a body, as `LineSplitter` returns them. Raises FramingError if there are more than MAX_BATCH."""
    splitter = LineSplitter()
    found = list(islice(chain(splitter.feed(body), splitter.finish()), MAX_BATCH + 1))
    if len(found) > MAX_BATCH:
        raise _too_many()
    return found


def _too_many() -> FramingError:
    return FramingError(413, "batch-too-long", f"a batch has at most {MAX_BATCH} events; send {LINES} instead")
