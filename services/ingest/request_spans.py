"""The spans of ingest: one for each authenticated request, and one for each window of a stream.

A client that has not authenticated begins no span. A stream may last for days, so its windows have spans of their own,
and its records name these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from opentelemetry.trace import Span, SpanKind

from services.ingest.receipts import Status
from services.runtime import trace_context, tracing

_REQUEST: tracing.Attributes = {"http.request.method": "POST", "http.route": "/v1/events"}
_WINDOW: tracing.Attributes = {"messaging.system": "kafka", "messaging.operation.type": "send"}


def of_request(headers: Sequence[tuple[bytes, bytes]], agency: str) -> AbstractContextManager[Span]:
    """The span of a request of this agency. Its parent is the client's span, if the headers name one."""
    if not tracing.is_on():
        return tracing.OFF
    attributes = {**_REQUEST, "ddor.agency": agency}
    return tracing.span("POST /v1/events", SpanKind.SERVER, attributes, parent=trace_context.parent_of(headers))


def of_window(agency: str, lines: int) -> AbstractContextManager[Span]:
    """The span of a window of a stream, within the span of its request."""
    if not tracing.is_on():
        return tracing.OFF
    attributes = {**_WINDOW, "ddor.agency": agency, "messaging.batch.message_count": lines}
    return tracing.span("store window", SpanKind.PRODUCER, attributes)


def responded(status: int) -> None:
    """Add the status of the response to the span of the request."""
    if tracing.is_on():
        failed = {"error.type": str(status)} if status >= 500 else {}
        tracing.annotate({"http.response.status_code": status, **failed})


def counted(outcomes: Mapping[tuple[str | None, Status, str | None], int]) -> None:
    """Add the number of events with each status. `outcomes` counts them by topic, status and code."""
    if not tracing.is_on():
        return
    numbers: Counter[str] = Counter()
    for (_, status, _), count in outcomes.items():
        numbers[f"ddor.events.{status}"] += count
    tracing.annotate(numbers)
