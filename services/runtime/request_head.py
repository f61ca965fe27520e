"""Checks of the request line and headers that h11 does not make. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

MAX_TARGET_BYTES = 8_192
"""RFC 9112 recommends at least 8,000."""

Fields = Sequence[tuple[bytes, bytes]]

SINGLE_VALUED = frozenset(
    b"authorization content-encoding content-location content-range content-type date from host if-modified-since"
    b" if-range if-unmodified-since max-forwards proxy-authorization range referer user-agent".split()
)
"""Headers that may occur once. `Content-Encoding` may be a list, but ingest supports one coding."""

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?")
_ABSOLUTE = re.compile(rb"http://([^/?#]*)([/?][^#]*)?", re.IGNORECASE)
_ORIGIN = re.compile(rb"/[^#]*")
_UNNAMED = re.compile(rb"%(?:[01][0-9A-Fa-f]|7[Ff]|2[Ff])")


class Fault(NamedTuple):
    """The reason for a refusal. The connection closes after the response."""

    status: int
    code: str
    detail: str


LONG = Fault(414, "target-too-long", f"The request target is longer than {MAX_TARGET_BYTES:,} bytes.")


def _bad(detail: str) -> Fault:
    return Fault(400, "bad-request", f"{detail} (RFC 9112).")


def check_head(method: bytes, target: bytes, version: bytes, fields: Fields) -> Fault | bytes:
    """Check the head of a request. Returns the requested path and query, or a Fault. Field names are in lower case."""
    if not version.startswith(b"1."):
        return Fault(505, "unsupported-version", "This server supports HTTP/1.1 and HTTP/1.0.")
    if len(target) > MAX_TARGET_BYTES:
        return LONG
    if method == b"CONNECT":
        return Fault(405, "method-not-allowed", "This server is not a proxy.")
    path = _origin_form(method, target)
    if path is None:
        return _bad("The request target must be a path or an http URL with a host")
    return _wrong_fields(version, fields) or path


def _wrong_fields(version: bytes, fields: Fields) -> Fault | None:
    named = dict(fields)
    if len(named) < len(fields) and (twice := _twice(fields)):
        return Fault(400, "duplicate-header", f"{twice.decode()} may occur only once in a request.")
    host = named.get(b"host")
    if _HOST.fullmatch(host) is None if host is not None else version != b"1.0":
        return _bad("The Host header is missing or malformed")
    if b"transfer-encoding" in named and (version == b"1.0" or b"content-length" in named):
        return _bad("Use either Content-Length or, in HTTP/1.1, Transfer-Encoding")
    return None


def _twice(fields: Fields) -> bytes | None:
    counts = Counter(name for name, _ in fields)
    return next((name for name, count in counts.items() if count > 1 and name in SINGLE_VALUED), None)


def _origin_form(method: bytes, target: bytes) -> bytes | None:
    """The path and query of a target, or None if its form is not valid for the method."""
    if _ORIGIN.fullmatch(target) or (target == b"*" and method == b"OPTIONS"):
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or not _HOST.fullmatch(absolute[1]):
        return None
    path = absolute[2] or b"/"
    return path if path.startswith(b"/") else b"/" + path


def names_a_resource(raw_path: bytes) -> bool:
    """Whether a percent-encoded path can match a route: no route has control characters or encoded slashes."""
    return _UNNAMED.search(raw_path) is None
