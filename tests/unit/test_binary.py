"""services.ingest.body.binary: CloudEvents binary mode is converted to structured mode."""

from __future__ import annotations

import json

import pytest

from schemas.acceptance import Refused, accept
from services.ingest.body import binary
from services.ingest.body.errors import FramingError
from tests.unit.sample_events import Document, encoded, event

Headers = list[tuple[bytes, bytes]]


def parts(document: Document) -> tuple[Headers, bytes]:
    """The headers and the body of an event in binary mode."""
    attributes = {name: value for name, value in document.items() if name not in {"data", "datacontenttype"}}
    headers = [(f"ce-{name}".encode(), value.encode()) for name, value in attributes.items()]
    return [(b"content-type", b"application/json"), *headers], json.dumps(document["data"]).encode()


@pytest.mark.parametrize("kind", ["issued", "declined"])
def test_it_is_the_same_event(kind: str) -> None:
    headers, body = parts(event(kind))
    value = binary.structured(headers, body)
    assert json.loads(value) == event(kind)
    assert accept(value) == accept(encoded(event(kind)))
    assert body in value, "the bytes of the data are unchanged"


def test_binary_mode_is_detected_by_headers() -> None:
    headers, _ = parts(event())
    assert binary.is_binary(headers)
    assert not binary.is_binary([(b"content-type", b"application/json"), (b"accept", b"ce-id"), (b"x-ce-id", b"1")])


@pytest.mark.parametrize(
    ("value", "text"),
    [(b"a%20b", "a b"), (b"100%25", "100%"), (b"Euro%20%E2%82%AC", "Euro €"), (b"%FF", "\ufffd"), (b'"\\', '"\\'),
     (b'"a b"', "a b"), (b'"a \\"b\\\\"', 'a "b\\'), (b'"a%20b"', "a b"), (b"a%2520b", "a%20b"), (b'"%2522"', "%22"),
     (b'%22a%22', '"a"'), (b'"a" b', '"a" b'), (b'"a"b"', '"a"b"'), (b'""', ""), (b' "a" ', "a"), (b'"', '"')],
)  # fmt: skip
def test_values_are_unquoted_then_percent_decoded_once_and_cannot_leave_their_string(value: bytes, text: str) -> None:
    assert json.loads(binary.structured([(b"ce-id", value)], b"{}"))["id"] == text


def test_a_repeated_attribute_is_refused() -> None:
    headers, body = parts(event())
    for more in ((b"ce-id", b"another"), (b"ce-data", b"x"), (b"ce-datacontenttype", b"application/json")):
        with pytest.raises(Refused, match="appears twice"):
            accept(binary.structured([*headers, more], body))


def test_quoted_attributes_are_the_same_event() -> None:
    """Clients of early versions of the binding quote them."""
    headers, body = parts(event() | {"traceparent": f"00-{'0af7' * 8}-{'b7ad' * 4}-01"})
    quoted = [(name, b'"' + value + b'"' if name.startswith(b"ce-") else value) for name, value in headers]
    assert binary.structured(quoted, body) == binary.structured(headers, body)
    assert accept(binary.structured(quoted, body)) == accept(encoded(event()))


def test_an_unknown_attribute_is_refused() -> None:
    headers, body = parts(event())
    for name in (b"ce-partitionkey", b"ce-", b"ce-\xe9"):
        with pytest.raises(Refused) as caught:
            accept(binary.structured([*headers, (name, b"00")], body))
        assert caught.value.code == "unknown-field"


@pytest.mark.parametrize("body", [b"", b" ", b"{", b"{} {}", b'{}, "redriveof": "detainer-issued/1/1"', b"[" * 10_000])
def test_a_body_that_is_not_one_json_value_is_refused(body: bytes) -> None:
    """It could add members to the envelope."""
    headers, _ = parts(event())
    with pytest.raises(FramingError) as caught:
        binary.structured(headers, body)
    assert (caught.value.status, caught.value.code) == (400, "not-json")


def test_other_headers_are_ignored() -> None:
    headers, body = parts(event())
    more = [(b"authorization", b"Bearer x"), (b"x-ce-id", b"y"), (b"host", b"z")]
    assert json.loads(binary.structured([*more, *headers], body)) == event()
