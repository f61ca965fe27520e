"""CloudEvents binary mode: attributes in `ce-` headers, the data as the body; converted to structured mode. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

import msgspec

from services.ingest.body.errors import FramingError

_PREFIX = b"ce-"
_quoted = re.compile(r'"(?:[^"\\]|\\.)*"').fullmatch
_ESCAPED = re.compile(r"\\(.)")


def is_binary(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the headers contain CloudEvents attributes."""
    return any(name.startswith(_PREFIX) for name, _ in headers)


def structured(headers: Iterable[tuple[bytes, bytes]], data: bytes) -> bytes:
    """The event as structured JSON: the attributes as members, the bytes of the body as `data`.

    A repeated attribute becomes a repeated member, which acceptance refuses. Header values are decoded according to
    the CloudEvents HTTP binding, section 3.1.3.2. Raises FramingError if the body is not exactly one JSON value, which
    could add members to the envelope.
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
    """A header value: unquoted if all of it is one quoted string, then percent-decoded once."""
    text = value.decode("latin-1").strip(" \t")
    if _quoted(text):
        text = _ESCAPED.sub(r"\1", text[1:-1])
    return unquote(text, errors="replace")
