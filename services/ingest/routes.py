"""`POST /v1/events`: who is asking, how the body is framed, and the answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from schemas.instant import microseconds
from schemas.week import ReportingCalendar
from services.ingest import binary, framing, intake, streaming
from services.ingest.admission import Admission
from services.ingest.framing import FramingError, Inflator
from services.ingest.intake import Judged, Rejected
from services.ingest.places import AGENCY_PLACES, ZSTD_PLACES, NoPlaceError, Places
from services.ingest.producing import EventProducer
from services.ingest.rates import Rates
from services.ingest.receipts import Receipt, Summary, encode
from services.ingest.spool import Shelf, Spool
from services.ingest.windows import CutOffError, Judge, Store, Turn
from services.runtime import metrics
from services.runtime.agencies import AgenciesFile, Agency
from services.runtime.clock import Clock
from services.runtime.logs import get
from services.runtime.problems import problem

log = get(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Coroutine[Any, Any, MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_SECONDS = 20.0
"""How long the body of an event or a batch may take to come: 1 MB at 50 kB a second."""

_MEDIA_TYPES = (framing.SINGLE, framing.BATCH, framing.LINES)
_ANSWERS = {"*/*", "application/*", "application/json", "application/problem+json", framing.LINES}
_FRAMING_CODES = frozenset({"not-json", "not-utf8", "no-value"})
_NOT_ALLOWED = frozenset({"source-not-allowed", "kind-not-allowed", "jurisdiction-not-allowed"})
_RETRY = {"Retry-After": "5"}


class Answered(Exception):  # noqa: N818  # ends a request early, not a failure
    """The request is answered before its events are looked at."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class Door:
    """The ASGI application of `POST /v1/events`. `producer` is None while Kafka cannot be reached."""

    def __init__(self, agencies: AgenciesFile, clock: Clock, rates: Rates, calendar: ReportingCalendar) -> None:
        self._clock = clock
        self._calendar = calendar
        self._shelf = Shelf()
        self._places = Places()
        self.producer: EventProducer | None = None
        self.stopping = asyncio.Event()
        self._admission = Admission(agencies, clock, rates, self.stopping)

    @property
    def routes(self) -> list[Route]:
        """The routes of the public interface."""
        return [Route("/v1/events", self, methods=["POST"])]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one event, a batch, or lines without end."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        named = dict(headers)
        client = scope["client"][0] if scope.get("client") else None
        key = _key(named)
        try:
            agency = self._authenticate(key, client)
            media_type = _media_type(headers, named)
            _check_accept(named)
            self._check_rate(agency)
            self._check_kafka()
            inflator = framing.inflator(named.get(b"content-encoding", b"").decode("latin-1"))
            with self._places.taken(agency.name, _places(media_type, inflator)):
                if media_type == framing.LINES:
                    stream = Body()
                    pieces, rest = stream.pieces(lambda: self._unless_stopping(receive)), stream.pieces(receive)
                    spool = Spool(self._shelf)
                    await streaming.answer(pieces, inflator, lambda: self._turn(key, client), spool, send, rest=rest)
                    return
                body = await self._body(receive, named, inflator)
                if media_type == framing.BINARY:
                    body = binary.structured(headers, body)
                values = framing.split(body) if media_type == framing.BATCH else [body]
                judge = self._judge(agency)
                receipts = await self._store(agency)([judge(line, value) for line, value in enumerate(values, start=1)])
                response = _many(receipts) if media_type == framing.BATCH else _one(receipts[0])
        except Answered as answered:
            response = answered.response
        except FramingError as error:
            response = problem(error.status, error.code, error.detail)
        except NoPlaceError as error:
            response = _no_place(error)
        except CutOffError:
            return
        await response(scope, receive, send)

    async def _turn(self, key: str, client: str | None) -> Turn:
        agency, lines = await self._admission.window(key, client)
        return Turn(lines, self._judge(agency), self._store(agency))

    def _judge(self, agency: Agency) -> Judge:
        calendar, now = self._calendar, microseconds(self._clock())
        partitions = self.producer.partitions() if self.producer else intake.PARTITIONS

        def judge(line: int, value: bytes) -> Judged:
            return intake.judge(line, value, agency, now, calendar, partitions=partitions)

        return judge

    def _store(self, agency: Agency) -> Store:
        def store(judged: list[Judged]) -> Coroutine[Any, Any, list[Receipt]]:
            self._admission.took(agency, len(judged))  # at once: the next window is asked for before this one is stored
            return self._stored(agency, judged)

        return store

    async def _stored(self, agency: Agency, judged: list[Judged]) -> list[Receipt]:
        producer = self.producer
        if producer is None:
            receipts = [one.receipt if isinstance(one, Rejected) else one.unavailable() for one in judged]
        else:
            receipts = await producer.store(judged)
        self._count(agency, judged, receipts)
        return receipts

    def _count(self, agency: Agency, judged: list[Judged], receipts: list[Receipt]) -> None:
        outcomes = Counter(
            [(one.topic, receipt.status, receipt.code) for one, receipt in zip(judged, receipts, strict=True)]
        )
        for (topic, status, code), count in outcomes.items():
            kind = topic.rpartition("-")[2] if topic else "unknown"
            metrics.INGEST_EVENTS.labels(kind, status, code or "").inc(count)
            if code in _NOT_ALLOWED:
                log.warning("refused", code=code, agency=agency.name, events=count)
        if any(status == "accepted" for _, status, _ in outcomes):
            metrics.AGENCY_LAST_EVENT.labels(agency.name).set(self._clock().timestamp())

    def _authenticate(self, key: str, client: str | None) -> Agency:
        if not self._admission.knows_agencies:
            raise Answered(problem(503, "agencies-unknown", "The agencies file cannot be read.", _RETRY))
        agency = self._admission.agency(key, client)
        if agency is None:
            detail = "Send 'Authorization: Bearer KEY' with a key of an agency that may send now."
            raise Answered(problem(401, "unknown-key", detail, {"WWW-Authenticate": 'Bearer realm="ddor"'}))
        return agency

    def _check_kafka(self) -> None:
        if self.producer is None:
            metrics.INGEST_EVENTS.labels("unknown", "unavailable", "kafka-unavailable").inc()
            raise Answered(problem(503, "kafka-unavailable", "Events cannot be stored now; send them again.", _RETRY))

    def _check_rate(self, agency: Agency) -> None:
        wait = self._admission.wait(agency)
        if wait:
            metrics.INGEST_EVENTS.labels("unknown", "refused", "too-many-events").inc()
            detail = f"{agency.name} may send {agency.events_per_second:,} events a second; wait, then go on."
            raise Answered(problem(429, "too-many-events", detail, {"Retry-After": str(wait)}))

    async def _body(self, receive: Receive, headers: dict[bytes, bytes], inflator: Inflator) -> bytes:
        """The whole body, decompressed; never more than the limit in memory, and never later than the deadline."""
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > framing.MAX_BODY_BYTES:
            raise _too_large()
        body, came = bytearray(), False
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for piece in Body().pieces(receive):
                    came = True
                    for plain in inflator.feed(piece):
                        await asyncio.sleep(0)  # what stands for nothing costs time: others have their turn
                        body += plain
                        if len(body) > framing.MAX_BODY_BYTES:
                            raise _too_large()
        except TimeoutError:
            detail = f"The body of an event or a batch must come within {BODY_SECONDS:.0f} seconds."
            raise Answered(problem(408, "too-slow", detail, {"Connection": "close"})) from None
        if came:
            inflator.finish()
        if not body:
            raise Answered(problem(400, "empty-body", "The body is empty; send an event."))
        return bytes(body)

    async def _unless_stopping(self, receive: Receive) -> MutableMapping[str, Any]:
        """The next message; CutOffError when the process is told to stop first, or was before."""
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


class Body:
    """The body of one request, which knows whether it has come to its end."""

    def __init__(self) -> None:
        self._more = True

    async def pieces(self, receive: Receive) -> AsyncIterator[bytes]:
        """What has not been taken yet, as it comes; CutOffError when the client goes away, or `receive` says so."""
        while self._more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise CutOffError
            self._more = message.get("more_body", False)
            if piece := message.get("body", b""):
                yield piece


def _key(headers: dict[bytes, bytes]) -> str:
    """The bearer key; nothing, which is nobody's, when there is none."""
    scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _places(media_type: str, inflator: Inflator) -> int:
    return ZSTD_PLACES if media_type == framing.LINES and isinstance(inflator, framing.Zstd) else 1


def _no_place(error: NoPlaceError) -> Response:
    log.warning("refused", code="too-many-requests", agency=error.agency)
    outcome = "unavailable" if error.everyone else "refused"
    metrics.INGEST_EVENTS.labels("unknown", outcome, "too-many-requests").inc()
    if error.everyone:
        return problem(503, "too-many-requests", "As many requests are open as are served; send it again.", _RETRY)
    detail = f"An agency has at most {AGENCY_PLACES} requests open, a stream in zstd counted as {ZSTD_PLACES}."
    return problem(429, "too-many-requests", detail, _RETRY)


def _too_large() -> Answered:
    return Answered(problem(413, "too-large", f"A body has at most {framing.MAX_BODY_BYTES:,} bytes."))


def _media_type(headers: list[tuple[bytes, bytes]], named: dict[bytes, bytes]) -> str:
    media_type = named.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    if media_type in _MEDIA_TYPES:
        return media_type
    if media_type == framing.BINARY and binary.is_binary(headers):
        return media_type
    detail = f"Content-Type must be {', '.join(_MEDIA_TYPES)}, or {framing.BINARY} with ce- headers."
    raise Answered(problem(415, "unsupported-media-type", detail))


def _check_accept(headers: dict[bytes, bytes]) -> None:
    accept = headers.get(b"accept", b"*/*").decode("latin-1").lower()
    if not any(choice.partition(";")[0].strip() in _ANSWERS for choice in accept.split(",")):
        raise Answered(problem(406, "not-acceptable", "Answers are application/json or application/x-ndjson."))


def _json(content: Any, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(encode(content), status, headers, media_type="application/json")


def _one(receipt: Receipt) -> Response:
    if receipt.status == "accepted":
        return _json(receipt, 202)
    code, detail = receipt.code or "", receipt.detail or ""
    if receipt.status == "unavailable":
        return problem(503, code, detail, _RETRY, retryable=True)
    status = 413 if code == "too-large" else 400 if code in _FRAMING_CODES else 422
    return problem(status, code, detail, id=receipt.id)


def _many(receipts: list[Receipt]) -> Response:
    summary = Summary()
    summary.add(receipts)
    status = 200 if summary.accepted == summary.lines else 207
    return _json({"receipts": receipts, "summary": summary}, status, _RETRY if summary.unavailable else None)
