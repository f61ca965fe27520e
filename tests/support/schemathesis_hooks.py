"""What schemathesis does not know by itself: how lines are written."""

from __future__ import annotations

import json

import schemathesis

from services.ingest.framing import LINES


@schemathesis.serializer(LINES)
def lines(_: schemathesis.SerializationContext, value: object) -> bytes:
    """Text as it is, all else as one line of JSON."""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()
