"""services.ingest.body.batch: a JSON array is split into its events, byte for byte."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.body.batch import split
from services.ingest.body.errors import FramingError
from tests.unit.sample_events import encoded, event


def test_a_batch_is_split_into_unchanged_events() -> None:
    assert split(b" [ ] ") == []
    values = [json.dumps(event(), indent=2).encode(), b'{"NaN": 1.0e0}', b"[]", b'"x"', b"1"]
    assert split(b" [" + b" ,\n".join(values) + b"] ") == values


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"[",
        b"[1,]",
        b"[1] 2",
        b"[1 2]",
        b"\xef\xbb\xbf[1]",
        b"[1]".decode().encode("utf-16"),
        b"[" + b",".join([b"1"] * 1_001) + b"]",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        encoded(event()),
    ],
    ids=lambda body: repr(body[:12]),
)
def test_anything_but_an_array_of_events_is_refused(body: bytes) -> None:
    with pytest.raises(FramingError):
        split(body)


def test_a_batch_may_have_a_thousand_events() -> None:
    assert len(split(b"[" + b",".join([b"1"] * 1_000) + b"]")) == 1_000


def test_the_error_names_the_limit_and_the_alternative() -> None:
    with pytest.raises(FramingError, match=r"at most 1000 events; send application/x-ndjson instead") as caught:
        split(b"[" + b",".join([b"1"] * 1_001) + b"]")
    assert (caught.value.status, caught.value.code) == (413, "batch-too-long")


@given(st.binary(max_size=60))
def test_any_body_is_split_or_refused(body: bytes) -> None:
    for framed in (body, b"[" + body + b"]"):
        with suppress(FramingError):
            assert all(isinstance(value, bytes) for value in split(framed))
