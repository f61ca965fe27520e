"""Foreign records: any client with write access can write arbitrary bytes to a topic."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

_DEEP = 100_000

CORPUS: dict[str, bytes | None] = {
    "no value": None,
    "no bytes": b"",
    "text": b"hello",
    "no UTF-8": b"\xff\xfe\x00\x80",
    "UTF-16": '{"type":"report-ready"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a number": b"7",
    "null": b"null",
    "an empty object": b"{}",
    "an empty list": b"[]",
    "a list of events": b'[{"type":"report-ready"}]',
    "a type alone": b'{"type":"report-ready"}',
    "a type that is a list": b'{"type":["report-ready"],"source":"/publisher"}',
    "a type that is an object": b'{"type":{"a":1},"source":"/publisher"}',
    "another source": b'{"type":"report-ready","source":"/agencies/demo","data":{}}',
    "another type": b'{"type":"report-withdrawn","source":"/publisher","data":{}}',
    "not a number": b'{"type":"report-ready","data":NaN}',
    "a huge number": b'{"type":' + b"9" * 10_000 + b"}",
    "a huge exponent": b'{"type":1e999999}',
    "deep lists": b"[" * _DEEP + b"]" * _DEEP,
    "deep objects": b'{"a":' * _DEEP + b"1" + b"}" * _DEEP,
    "half of an event": b'{"specversion":"1.0","id":"1","sou',
    "one half of a surrogate": b'{"type":"\\ud800","source":"\\udfff"}',
    "a NUL": b'{"type":"\\u0000"}\x00',
}
"""By name. None of them claims to be an announcement of the publisher."""

_NUMBERS = st.one_of(st.integers(), st.integers(min_value=2**31 - 2, max_value=2**70), st.floats())
_TEXTS = st.one_of(st.text(max_size=8), st.sampled_from(["2017-01-28", "0001-01-01", "\x00", "0" * 64, "initial", "1"]))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_TEXTS, inner, max_size=3)),
    max_leaves=8,
)
"""Any JSON, including Python's NaN and Infinity."""


def encoded(document: Any) -> bytes:
    """The JSON of a document."""
    return json.dumps(document).encode()


_SHORT = [value for value in CORPUS.values() if len(value or b"") < 20_000]
VALUES = st.one_of(st.sampled_from(_SHORT), st.binary(max_size=40), st.none(), JSON.map(encoded))
"""Any value of a record."""


def _paths(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of each member and element, at any depth."""
    members = document.items() if isinstance(document, dict) else enumerate(document)
    found = []
    for name, member in members:
        found.append((*path, name))
        if isinstance(member, dict | list):
            found += _paths(member, (*path, name))
    return found


@st.composite
def mutated(draw: st.DrawFn, value: bytes) -> bytes:
    """A JSON document in which one member is replaced or removed."""
    document = json.loads(value)
    *parents, last = draw(st.sampled_from(_paths(document)))
    inner = document
    for name in parents:
        inner = inner[name]
    if draw(st.booleans()):
        del inner[last]
    else:
        inner[last] = draw(JSON)
    return encoded(document)
