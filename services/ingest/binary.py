"""CloudEvents binary mode: attributes in `ce-` headers, the data as the body; made into the structured form."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

import msgspec

from services.ingest.framing import FramingError

_PREFIX = b"ce-"


def is_binary(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the headers carry CloudEvents attributes."""
    return any(name.startswith(_PREFIX) for name, _ in headers)


def structured(headers: Iterable[tuple[bytes, bytes]], data: bytes) -> bytes:
    """The event as structured JSON: the attributes as members, the data's own bytes as `data`.

    An attribute given twice stays twice, so that acceptance refuses it. Values are percent-decoded (HTTP binding,
    section 3.1.3.2). FramingError when the body is not one JSON value: it must not add members of its own.
    """
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        raise FramingError(400, "not-json", "the body must be the event's data, one JSON object") from None
    members = [
        msgspec.json.encode(name[len(_PREFIX) :].decode("latin-1")) + b":" + msgspec.json.encode(_text(value))
        for name, value in headers
        if name.startswith(_PREFIX)
    ]
    members.append(b'"datacontenttype":"application/json"')
    members.append(b'"data":' + data)
    return b"{" + b",".join(members) + b"}"


def _text(value: bytes) -> str:
    return unquote(value.decode("latin-1"), errors="replace")
