"""A serializer for NDJSON, which schemathesis does not have."""

from __future__ import annotations

import json

import schemathesis

from services.ingest.body.media_types import LINES


@schemathesis.serializer(LINES)
def lines(_: schemathesis.SerializationContext, value: object) -> bytes:
    """Text unchanged, any other value as one line of JSON."""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()
