"""Exports spans with OpenTelemetry's SDK: OTLP over HTTP, from a bounded queue, in a thread of its own.

Imported only if tracing is on. Nothing here waits for the collector in the event loop. Spans are dropped if the queue
is full or the collector does not accept them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any, Final

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState, get_current_span
from opentelemetry.util.types import Attributes

from services.runtime.logs import get
from services.runtime.trace_context import MAX_LINKS

log = get(__name__)

DRAIN_SECONDS: Final = 3.0
"""How long the end of the process may wait for the collector."""
QUEUE: Final = 2_048
_BATCH: Final = 512
_EVERY_MS: Final = 1_000
_EXPORT_SECONDS: Final = 5.0
_LOG_SECONDS: Final = 60.0
_FIX: Final = "start the collector, correct DDOR_OTLP_ENDPOINT, or unset it"


class RateLimitedSampler(Sampler):
    """Samples at most `per_second` requests and windows of streams, whatever their clients ask for.

    A client's context may switch a trace off, never beyond the limit on. Phases of a close follow their parent. A batch
    with links is sampled: there is one span for each batch, and links lead only to sampled requests.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._most = max(1.0, per_second)
        self._left = self._most
        self._clock = clock
        self._filled_at = clock()

    def should_sample(  # noqa: PLR0917  # the interface of the SDK
        self,
        parent_context: Context | None,
        trace_id: int,  # noqa: ARG002
        name: str,  # noqa: ARG002
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,  # noqa: ARG002
    ) -> SamplingResult:
        """The decision for one span."""
        parent = get_current_span(parent_context).get_span_context()
        if parent.is_valid and not parent.trace_flags.sampled:
            sampled = False
        else:
            sampled = kind is SpanKind.INTERNAL or bool(links) or self._take()
        decision = Decision.RECORD_AND_SAMPLE if sampled else Decision.DROP
        return SamplingResult(decision, attributes if sampled else None, parent.trace_state)

    def get_description(self) -> str:
        """The name of this sampler."""
        return f"RateLimitedSampler({self._rate})"

    def _take(self) -> bool:
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class _Session(requests.Session):
    """Stores why the last request failed, because OTLPSpanExporter only logs it."""

    problem = ""

    def request(self, *arguments: Any, **named: Any) -> requests.Response:
        try:
            response = super().request(*arguments, **named)
        except requests.RequestException as error:
            self.problem = _problem(error)
            raise
        self.problem = "" if response.ok else f"the collector responds with {response.status_code}"
        return response


class _QuietExporter(SpanExporter):
    """Logs failed exports in one line a minute, without a traceback. Never raises."""

    def __init__(self, endpoint: str, clock: Callable[[], float] = time.monotonic) -> None:
        for chatty in ("opentelemetry.exporter", "urllib3"):  # they log each attempt
            logging.getLogger(chatty).setLevel(logging.CRITICAL)
        self._session = _Session()
        self._exporter = OTLPSpanExporter(_address(endpoint), timeout=_EXPORT_SECONDS, session=self._session)
        self._clock = clock
        self._logged_at = -_LOG_SECONDS
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans. Retries for a few seconds, then drops them."""
        try:
            result, problem = self._exporter.export(spans), self._session.problem
        except Exception as error:  # a span that cannot be encoded must not end the thread
            result, problem = SpanExportResult.FAILURE, type(error).__name__
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
            if self._clock() - self._logged_at >= _LOG_SECONDS:
                log.warning("spans-not-exported", reason=f"{problem or 'export failed'}: {_FIX}", spans=self._lost)
                self._logged_at, self._lost = self._clock(), 0
        return result

    def shutdown(self) -> None:
        """Give up waiting for a retry."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  # the interface of the SDK
        """Nothing is buffered here."""
        return True


class Exporting:
    """A tracer, and the thread that exports its spans."""

    def __init__(self, endpoint: str, service: str, per_second: float) -> None:
        release = version("weekly-detainer-report")
        about = {
            "service.name": f"ddor-{service}",
            "service.version": release,
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        }
        self._exporter = _QuietExporter(endpoint)
        self._provider = TracerProvider(
            sampler=RateLimitedSampler(per_second),
            resource=Resource.create(about),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_span_attributes=32, max_links=MAX_LINKS, max_span_attribute_length=256),
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter, max_queue_size=QUEUE, schedule_delay_millis=_EVERY_MS, max_export_batch_size=_BATCH
            )
        )
        self.tracer = self._provider.get_tracer("ddor", release)

    async def stop(self) -> None:
        """Export the queued spans, for at most `DRAIN_SECONDS`. The thread cannot delay the end of the process."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def end() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop has ended first
                loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=end, name="traces-end", daemon=True).start()
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await ended.wait()
        except TimeoutError:
            log.warning("spans-not-exported", reason=f"no response within {DRAIN_SECONDS:.0f} s at the end: {_FIX}")
            self._exporter.shutdown()


def _address(endpoint: str) -> str:
    """The address for traces: that of the collector with the path of OTLP/HTTP."""
    return f"{endpoint.rstrip('/')}/v1/traces"


def _problem(error: requests.RequestException) -> str:
    """What is wrong, without the address: it may contain a token."""
    if isinstance(error, requests.Timeout):
        return "the collector does not respond in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "the certificate of the collector is not trusted"
    if isinstance(error, requests.ConnectionError):
        return "the collector cannot be reached"
    return type(error).__name__
