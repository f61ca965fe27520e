"""W3C Trace Context in the headers of HTTP requests and of Kafka records. Pure.

Both come from outside. A malformed context is ignored: a request or a record never fails because of its trace. A
`tracestate` is exported to the collector, so it must have the strict form of `schemas.tracing` and no A-number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Link, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from schemas.a_number import has_a_number
from schemas.tracing import is_tracestate

MAX_LINKS: Final = 32
"""Maximum number of links of a batch."""
PARENT: Final = "traceparent"
STATE: Final = "tracestate"

RecordHeaders = Sequence[tuple[str, bytes]]

_LONGEST_PARENT: Final = 512
_propagator = TraceContextTextMapPropagator()


def parent_of(headers: Iterable[tuple[bytes, bytes]]) -> Context:
    """The context of the client's span, from the headers of a request (ASGI); empty if it is malformed or ambiguous."""
    parents: list[str] = []
    states: list[str] = []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value.decode("latin-1"))
        elif name == b"tracestate":
            states.append(value.decode("latin-1"))
    return _context(parents, ",".join(states))


def links_of(records: Iterable[RecordHeaders]) -> list[Link]:
    """Links to the sampled contexts in the headers of these records: each once, and the first `MAX_LINKS` only."""
    found: dict[tuple[bytes, bytes], Link] = {}
    seen: set[tuple[bytes, bytes]] = set()
    previous: RecordHeaders = ()
    for headers in records:
        # The records of an untraced request have only a content type. Those of one request often follow each other.
        if len(headers) < 2 or headers == previous:
            continue
        previous = headers
        by_name = dict(headers)
        parent, state = by_name.get(PARENT), by_name.get(STATE)
        key = parent or b"", state or b""
        if not parent or key in seen:
            continue
        seen.add(key)
        context = get_current_span(_context([parent.decode("latin-1")], key[1].decode("latin-1"))).get_span_context()
        if context.trace_flags.sampled:
            found[key] = Link(context)
        if len(seen) >= MAX_LINKS:
            break
    return list(found.values())


def record_headers(context: Context | None = None) -> list[tuple[str, bytes]]:
    """The headers of a record that name the current span, or the span of `context`; none if it is not sampled."""
    if not get_current_span(context).get_span_context().trace_flags.sampled:
        return []
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, context)
    return [(name, value.encode()) for name, value in carrier.items()]


def _context(parents: Sequence[str], state: str) -> Context:
    if len(parents) != 1 or len(parents[0]) > _LONGEST_PARENT:
        return Context()
    carrier = {PARENT: parents[0]}
    if state and is_tracestate(state) and not has_a_number(state):
        carrier[STATE] = state
    return _propagator.extract(carrier, Context())
