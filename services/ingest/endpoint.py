"""`POST /v1/events`: authenticates the agency, reads the body, stores its events and responds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence
from contextlib import ExitStack
from time import perf_counter
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from schemas.acceptance import MAX_EVENT_BYTES
from schemas.instant import microseconds
from schemas.week import ReportingCalendar
from services.ingest import intake, request_spans, responses
from services.ingest.admission import Admission
from services.ingest.body import batch, binary, compression, media_types
from services.ingest.body.compression import Inflator
from services.ingest.body.errors import CutOffError, FramingError
from services.ingest.body.media_types import BINARY, JSON, LINES, SINGLE
from services.ingest.body.reader import BodyReader, Receive, read_all
from services.ingest.intake import Judged, Rejected
from services.ingest.kafka.producer import EventProducer
from services.ingest.limits import (
    AGENCY_SLOTS,
    ZSTD_STREAM_SLOTS,
    ConcurrencyLimiter,
    RateLimiter,
    TooManyRequestsError,
)
from services.ingest.receipts import Receipt
from services.ingest.responses import RETRY, EarlyResponse
from services.ingest.stream.receipt_buffer import DiskBudget, ReceiptBuffer
from services.ingest.stream.response import respond
from services.ingest.stream.windows import Judge, Store, WindowContext
from services.runtime import metrics, tracing
from services.runtime.agencies import AgenciesFile, Agency
from services.runtime.clock import Clock
from services.runtime.connection_limits import AUTHENTICATED
from services.runtime.logs import get
from services.runtime.negotiation import is_strict
from services.runtime.problems import problem

log = get(__name__)

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_NOT_ALLOWED = frozenset({"source-not-allowed", "kind-not-allowed", "jurisdiction-not-allowed"})
# Looked up once: both series exist from the start, and a single event is the smallest unit of work.
_store_seconds = {outcome: metrics.STORE_SECONDS.labels(outcome) for outcome in ("final", "unavailable")}


class EventsEndpoint:
    """The ASGI application of `POST /v1/events`. `producer` is None while Kafka is unreachable."""

    def __init__(self, agencies: AgenciesFile, clock: Clock, rates: RateLimiter, calendar: ReportingCalendar) -> None:
        self._clock = clock
        self._calendar = calendar
        self._disk = DiskBudget()
        self._requests = ConcurrencyLimiter()
        self.producer: EventProducer | None = None
        self.stopping = asyncio.Event()
        self._admission = Admission(agencies, clock, rates, self.stopping)

    @property
    def routes(self) -> list[Route]:
        """The routes of the public interface."""
        return [Route("/v1/events", self, methods=["POST"])]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process one event, a batch, or a stream of lines."""
        with ExitStack() as stack:
            try:
                response = await self._respond(scope, receive, send, stack)
            except EarlyResponse as early:
                response = early.response
            except FramingError as error:
                headers = {"Connection": "close"} if error.status == 408 else None
                response = problem(error.status, error.code, error.detail, headers)
            except TooManyRequestsError as error:
                response = _too_many_requests(error)
            except CutOffError:
                tracing.annotate({"error.type": "CutOffError"})
                return
            if response:
                request_spans.responded(response.status_code)
                await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send, stack: ExitStack) -> Response | None:
        """The response; None if it was streamed. The span of the request ends with `stack`."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        by_name = dict(headers)
        client = scope["client"][0] if scope.get("client") else None
        key = _key(by_name)
        agency = self._authenticate(key, client)
        if mark_authenticated := scope.get("state", {}).get(AUTHENTICATED):
            mark_authenticated()  # other connection limits apply from here on
        stack.enter_context(request_spans.of_request(headers, agency.name))
        media_type = media_types.of_body(headers, by_name)
        strict = is_strict(media_types.values(headers, b"prefer"))
        streamed = media_type == LINES and not strict
        media_types.check_accept(headers, LINES if streamed else JSON)
        self._check_rate(agency)
        self._check_kafka()
        inflator = compression.inflator(by_name.get(b"content-encoding", b"").decode("latin-1"))
        with self._requests.acquire(agency.name, _slots(streamed, inflator)):
            if streamed:
                request_spans.responded(207)
                await self._stream(receive, send, inflator, lambda: self._window(key, client))
                return None
            body = await read_all(receive, by_name.get(b"content-length", b""), inflator)
            if media_type == BINARY:
                body = binary.structured(headers, body)
            return await self._store_body(agency, media_type, body, strict=strict)

    async def _stream(
        self, receive: Receive, send: Send, inflator: Inflator, begin: Callable[[], Awaitable[WindowContext]]
    ) -> None:
        body = BodyReader()
        pieces, rest = body.pieces(lambda: self._unless_stopping(receive)), body.pieces(receive)
        await respond(pieces, inflator, begin, ReceiptBuffer(self._disk), send, rest=rest)

    async def _store_body(self, agency: Agency, media_type: str, body: bytes, *, strict: bool) -> Response:
        """Judge and store a complete body; with `strict`, all of its events or none."""
        judge, store = self._judge(agency), self._store(agency)
        if media_type in (SINGLE, BINARY):
            return responses.of_one((await store([judge(1, body)]))[0])
        judged = [
            intake.too_long(line, MAX_EVENT_BYTES) if value is None else judge(line, value)
            for line, value in batch.events(media_type, body)
        ]
        if not strict:
            return responses.of_many(await store(judged))
        if refused := [one for one in judged if isinstance(one, Rejected)]:
            self._admission.took(agency, len(judged))
            receipts = [one.receipt for one in refused]
            self._count(agency, refused, receipts)
            return responses.of_refused(receipts, len(judged))
        return responses.of_all_or_nothing(await store(judged))

    async def _window(self, key: str, client: str | None) -> WindowContext:
        agency, lines = await self._admission.window(key, client)
        return WindowContext(lines, self._judge(agency), self._store(agency, window=True))

    def _judge(self, agency: Agency) -> Judge:
        calendar, now = self._calendar, microseconds(self._clock())
        partitions = self.producer.partitions() if self.producer else intake.PARTITIONS

        def judge(line: int, value: bytes) -> Judged:
            return intake.judge(line, value, agency, now, calendar, partitions=partitions)

        return judge

    def _store(self, agency: Agency, *, window: bool = False) -> Store:
        def store(judged: list[Judged]) -> Coroutine[Any, Any, list[Receipt]]:
            # Counted now, because the next window checks the rate before this one is stored.
            self._admission.took(agency, len(judged))
            stored = self._stored_in_span if window else self._stored
            return stored(agency, judged, perf_counter())

        return store

    async def _stored_in_span(self, agency: Agency, judged: list[Judged], began: float) -> list[Receipt]:
        with request_spans.of_window(agency.name, len(judged)):
            return await self._stored(agency, judged, began)

    async def _stored(self, agency: Agency, judged: list[Judged], began: float) -> list[Receipt]:
        producer = self.producer
        if producer is None:
            receipts = [one.receipt if isinstance(one, Rejected) else one.unavailable() for one in judged]
        else:
            receipts = await producer.store(judged)
        statuses = self._count(agency, judged, receipts)
        _store_seconds["unavailable" if "unavailable" in statuses else "final"].observe(perf_counter() - began)
        return receipts

    def _count(self, agency: Agency, judged: Sequence[Judged], receipts: list[Receipt]) -> set[str]:
        """Count the events by outcome. Returns the statuses of the receipts."""
        outcomes = Counter(
            [(one.topic, receipt.status, receipt.code) for one, receipt in zip(judged, receipts, strict=True)]
        )
        for (topic, status, code), count in outcomes.items():
            kind = topic.rpartition("-")[2] if topic else "unknown"
            metrics.INGEST_EVENTS.labels(kind, status, code or "").inc(count)
            if code in _NOT_ALLOWED:
                log.warning("refused", code=code, agency=agency.name, events=count)
        request_spans.counted(outcomes)
        statuses: set[str] = {status for _, status, _ in outcomes}
        if "accepted" in statuses:
            metrics.AGENCY_LAST_EVENT.labels(agency.name).set(self._clock().timestamp())
        return statuses

    def _authenticate(self, key: str, client: str | None) -> Agency:
        if not self._admission.knows_agencies:
            raise EarlyResponse(problem(503, "agencies-unknown", "The agencies file cannot be read.", RETRY))
        agency = self._admission.agency(key, client)
        if agency is None:
            detail = "Send 'Authorization: Bearer KEY' with a valid key of an agency that may send now."
            raise EarlyResponse(problem(401, "unknown-key", detail, {"WWW-Authenticate": 'Bearer realm="ddor"'}))
        return agency

    def _check_kafka(self) -> None:
        if self.producer is None:
            metrics.INGEST_EVENTS.labels("unknown", "unavailable", "kafka-unavailable").inc()
            _store_seconds["unavailable"].observe(0)
            detail = "Kafka is unavailable, so events cannot be stored; retry later."
            raise EarlyResponse(problem(503, "kafka-unavailable", detail, RETRY))

    def _check_rate(self, agency: Agency) -> None:
        wait = self._admission.wait(agency)
        if wait:
            metrics.INGEST_EVENTS.labels("unknown", "refused", "too-many-events").inc()
            detail = f"{agency.name} may send {agency.events_per_second:,} events a second; wait, then continue."
            raise EarlyResponse(problem(429, "too-many-events", detail, {"Retry-After": str(wait)}))

    async def _unless_stopping(self, receive: Receive) -> MutableMapping[str, Any]:
        """The next message. Raises CutOffError if this process is stopping, or stops before the message arrives."""
        if self.stopping.is_set():
            raise CutOffError
        message = asyncio.ensure_future(receive())
        stopping = asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait({message, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not message.done():
                raise CutOffError
            return message.result()
        finally:
            message.cancel()
            stopping.cancel()


def _key(headers: dict[bytes, bytes]) -> str:
    """The bearer key; empty, and so unknown, if there is none."""
    scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _slots(streamed: bool, inflator: Inflator) -> int:
    return ZSTD_STREAM_SLOTS if streamed and isinstance(inflator, compression.Zstd) else 1


def _too_many_requests(error: TooManyRequestsError) -> Response:
    log.warning("refused", code="too-many-requests", agency=error.agency)
    outcome = "unavailable" if error.everyone else "refused"
    metrics.INGEST_EVENTS.labels("unknown", outcome, "too-many-requests").inc()
    if error.everyone:
        detail = "Server is at its limit of concurrent requests; retry later."
        return problem(503, "too-many-requests", detail, RETRY)
    detail = f"An agency may have {AGENCY_SLOTS} concurrent requests; a zstd stream counts as {ZSTD_STREAM_SLOTS}."
    return problem(429, "too-many-requests", detail, RETRY)
