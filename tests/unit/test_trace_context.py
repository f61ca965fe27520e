"""services.runtime.trace_context: contexts in headers of requests and records, which come from outside."""

from __future__ import annotations

import pytest
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TraceState,
    get_current_span,
    set_span_in_context,
)

from services.runtime.trace_context import MAX_LINKS, links_of, parent_of, record_headers
from tests.support.collector import parent

TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
TYPE = ("content-type", b"application/cloudevents+json")


def context(*headers: tuple[bytes, bytes]) -> SpanContext:
    return get_current_span(parent_of(headers)).get_span_context()


def test_the_parent_is_the_span_of_the_client() -> None:
    found = context((b"traceparent", parent().encode()), (b"tracestate", b"rojo=1"), (b"tracestate", b"congo=2"))
    assert (found.trace_id, found.span_id, found.is_remote) == (TRACE, SPAN, True)
    assert found.trace_flags.sampled
    assert found.trace_state.to_header() == "rojo=1,congo=2"
    assert not context((b"traceparent", parent(flags="00").encode())).trace_flags.sampled
    later = b"cc" + parent().encode()[2:] + b"-what-comes-later"
    assert context((b"traceparent", later)).trace_id == TRACE, "Trace Context requires this of later versions"


@pytest.mark.parametrize(
    "header",
    [
        "", "00", "planted", parent().upper(), parent() + "-00", parent("0" * 32), parent()[:36] + "0" * 16 + "-01",
        "ff" + parent()[2:], parent()[:-1] + "g", "00-é", parent() + " x" * 5_000,
    ],
)  # fmt: skip
def test_a_malformed_parent_is_ignored(header: str) -> None:
    assert not context((b"traceparent", header.encode())).is_valid


def test_two_parents_are_ambiguous() -> None:
    assert not context(*[(b"traceparent", parent().encode())] * 2).is_valid


@pytest.mark.parametrize("state", ["name=Jane Doe", "a=A12345678", "a", "a=" + "x" * 600, "=", "a=é"])
def test_a_state_that_may_be_personal_is_dropped_and_the_parent_is_kept(state: str) -> None:
    found = context((b"traceparent", parent().encode()), (b"tracestate", state.encode()))
    assert found.trace_id == TRACE
    assert found.trace_state.to_header() == ""


def written(flags: int, state: TraceState | None = None) -> list[tuple[str, bytes]]:
    span = NonRecordingSpan(SpanContext(TRACE, SPAN, False, TraceFlags(flags), state))
    return record_headers(set_span_in_context(span))


def test_records_name_a_sampled_span_only() -> None:
    assert written(1) == [("traceparent", parent().encode())]
    assert written(1, TraceState([("rojo", "1")])) == [("traceparent", parent().encode()), ("tracestate", b"rojo=1")]
    assert written(0) == []
    assert record_headers() == []


def test_a_batch_links_each_request_once() -> None:
    records = [
        [TYPE],
        [TYPE, *written(1, TraceState([("rojo", "1")]))],
        [TYPE, *written(1, TraceState([("rojo", "1")]))],
        [TYPE, ("traceparent", parent("1" * 32).encode())],
    ]
    links = links_of(records)
    assert [one.context.trace_id for one in links] == [TRACE, int("1" * 32, 16)]
    assert links[0].context.trace_state.to_header() == "rojo=1"


@pytest.mark.parametrize(
    "value", [parent(flags="00").encode(), b"", b"planted", b"\xff\x00", None, b"x" * 10_000, parent().encode()[:-1]]
)
def test_a_record_with_another_header_has_no_link(value: bytes) -> None:
    assert links_of([[TYPE, ("traceparent", value)], [TYPE, ("tracestate", b"a=1")]]) == []


def test_links_are_bounded() -> None:
    records = [[TYPE, ("traceparent", parent(f"{number:032x}").encode())] for number in range(1, 10_000)]
    assert len(links_of(records)) == MAX_LINKS
    unsampled = [[TYPE, ("traceparent", parent(f"{number:032x}", "00").encode())] for number in range(1, 10_000)]
    assert links_of(unsampled) == []
