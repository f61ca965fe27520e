"""Traces: spans of requests, batches and closes, sent to an OpenTelemetry collector. Off without DDOR_OTLP_ENDPOINT.

Only OpenTelemetry's API is imported here. `start` imports the SDK. While tracing is off, `span` returns a constant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)

from services.runtime import trace_context
from services.runtime.errors import ConfigurationError
from services.runtime.settings import Settings

Attributes = Mapping[str, str | int | bool]

ATTRIBUTES: Final = frozenset(
    {
        "ddor.agency",
        "ddor.events.accepted",
        "ddor.events.rejected",
        "ddor.events.unavailable",
        "ddor.fenced",
        "ddor.held",
        "ddor.records.duplicate",
        "ddor.records.history",
        "ddor.records.ledger",
        "ddor.records.rejected",
        "ddor.revisions",
        "ddor.week",
        "error.type",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "messaging.batch.message_count",
        "messaging.operation.type",
        "messaging.system",
    }
)
"""All attributes of spans. None can contain personal data: they are names of agencies, codes, dates and numbers."""

_MISSING: Final = (
    "DDOR_OTLP_ENDPOINT needs packages that are not installed: install weekly-detainer-report[tracing], or build the"
    " image with --build-arg REQUIREMENTS=tracing, or unset it"
)
OFF: Final[AbstractContextManager[Span]] = nullcontext(INVALID_SPAN)

_tracer: Tracer | None = None
_drain: Callable[[], Awaitable[None]] | None = None


def start(settings: Settings, service: str) -> None:
    """Start to export spans if the settings name a collector.

    Raises ConfigurationError if the packages of the extra `tracing` are not installed.
    """
    global _tracer, _drain  # one process has one exporter
    if settings.otlp_endpoint is None:
        return
    try:
        from services.runtime.trace_export import Exporting  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("opentelemetry", "requests", "google"):
            raise
        raise ConfigurationError(_MISSING) from None
    exporting = Exporting(settings.otlp_endpoint, service, settings.traces_per_second)
    _tracer, _drain = exporting.tracer, exporting.stop


async def stop() -> None:
    """Export the remaining spans, for a few seconds at most. Tracing is then off."""
    global _tracer, _drain
    drain, _tracer, _drain = _drain, None, None
    if drain is not None:
        await drain()


def is_on() -> bool:
    """Whether spans are recorded."""
    return _tracer is not None


def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Attributes | None = None,
    *,
    parent: Context | None = None,
    links: Sequence[Link] = (),
    start_ns: int | None = None,
) -> AbstractContextManager[Span]:
    """A span around a block, whose logs name it. `parent` replaces the current span.

    If the block fails, the span has the type of the error, but not its message, which may quote data.
    """
    if _tracer is None:
        return OFF
    return _active(_tracer.start_span(name, parent, kind, attributes, links, start_ns), parent)


def within(outer: Span) -> AbstractContextManager[Span]:
    """Make a span that `begin` has begun current for a block."""
    return OFF if _tracer is None else _current(outer, None)


def begin(name: str, attributes: Attributes | None = None, *, parent: Context | None = None) -> Span:
    """Begin a span that the caller must end. It does not become current."""
    return INVALID_SPAN if _tracer is None else _tracer.start_span(name, parent or Context(), attributes=attributes)


def annotate(attributes: Attributes) -> None:
    """Add attributes to the current span."""
    if _tracer is not None:
        get_current_span().set_attributes(attributes)


def record_headers() -> list[tuple[str, bytes]]:
    """The headers by which Kafka records name the current span; none if it is not sampled."""
    return [] if _tracer is None else trace_context.record_headers()


@contextmanager
def _active(one: Span, parent: Context | None) -> Iterator[Span]:
    try:
        with _current(one, parent):
            yield one
    except BaseException as error:
        if not isinstance(error, asyncio.CancelledError):
            one.set_status(StatusCode.ERROR)
        one.set_attribute("error.type", type(error).__name__)
        raise
    finally:
        one.end()


@contextmanager
def _current(one: Span, parent: Context | None) -> Iterator[Span]:
    token = attach(set_span_in_context(one, parent))
    try:
        yield one
    finally:
        detach(token)
