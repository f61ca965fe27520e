"""`POST /v1/events`: who is asking, how the body is framed, and the answer."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.ingest import intake
from services.ingest.intake import Accepted, Receipt
from services.ingest.producing import EventProducer
from services.runtime import metrics
from services.runtime.agencies import AgenciesFile, Agency
from services.runtime.clock import Clock
from services.runtime.http import problem
from services.runtime.logs import get

log = get(__name__)

SINGLE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


class Answered(Exception):  # noqa: N818  # ends a request early, not a failure
    """The request is answered before its events are looked at."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class Door:
    """The HTTP side of ingest. `producer` is None while Kafka cannot be reached."""

    def __init__(self, agencies: AgenciesFile, clock: Clock) -> None:
        self._agencies = agencies
        self._clock = clock
        self.producer: EventProducer | None = None

    @property
    def routes(self) -> list[Route]:
        """The routes of the public interface."""
        return [Route("/v1/events", self.post_events, methods=["POST"])]

    async def post_events(self, request: Request) -> Response:
        """Take one event, or a batch of at most 1,000."""
        try:
            agency = self._authenticate(request)
            media_type = _media_type(request)
            producer = self._reachable()
            body = await _body(request)
            values = [body] if media_type == SINGLE else _split(body)
        except Answered as answered:
            return answered.response
        except ClientDisconnect:
            return Response(status_code=400)
        receipts = await self._take(producer, values, agency)
        return _one(receipts[0]) if media_type == SINGLE else _many(receipts)

    async def _take(self, producer: EventProducer, values: Sequence[bytes], agency: Agency) -> list[Receipt]:
        judged = [intake.judge(line, value, agency) for line, value in enumerate(values, start=1)]
        offsets = await producer.store([one for one in judged if isinstance(one, Accepted)])
        receipts = [_receipt(one, offsets) for one in judged]
        for receipt in receipts:
            metrics.INGEST_EVENTS.labels(receipt.kind, receipt.status, receipt.code or "").inc()
        if offsets:
            metrics.AGENCY_LAST_EVENT.labels(agency.name).set(self._clock().timestamp())
        return receipts

    def _reachable(self) -> EventProducer:
        if self.producer is None:
            metrics.INGEST_EVENTS.labels("unknown", "unavailable", "kafka-unavailable").inc()
            detail = "Events cannot be stored now; send them again."
            raise Answered(problem(503, "kafka-unavailable", detail, {"Retry-After": "5"}))
        return self.producer

    def _authenticate(self, request: Request) -> Agency:
        agencies = self._agencies.current()
        if agencies is None:
            raise Answered(problem(503, "agencies-unknown", "The agencies file cannot be read.", {"Retry-After": "5"}))
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        agency = agencies.by_key(key.strip()) if scheme.lower() == "bearer" else None
        if agency is None or not agency.is_valid(self._clock()):
            log.warning("refused", code="unknown-key", client=request.client.host if request.client else None)
            metrics.INGEST_EVENTS.labels("unknown", "refused", "unknown-key").inc()
            raise Answered(
                problem(
                    401,
                    "unknown-key",
                    "Send 'Authorization: Bearer KEY' with a key of an agency that may send now.",
                    {"WWW-Authenticate": 'Bearer realm="ddor"'},
                )
            )
        return agency


def _media_type(request: Request) -> str:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in (SINGLE, BATCH):
        raise Answered(problem(415, "unsupported-media-type", f"Content-Type must be {SINGLE} or {BATCH}."))
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Answered(
            problem(415, "unsupported-encoding", "Content-Encoding is not supported; send the body as it is.")
        )
    return media_type


async def _body(request: Request) -> bytes:
    """The body, never more than the limit in memory."""
    too_large = Answered(problem(413, "too-large", f"A body has at most {intake.MAX_BODY_BYTES} bytes."))
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > intake.MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > intake.MAX_BODY_BYTES:
            raise too_large
    if not body:
        raise Answered(problem(400, "empty-body", "The body is empty; send an event."))
    return bytes(body)


def _split(body: bytes) -> list[bytes]:
    try:
        return intake.split(body)
    except intake.NotABatchError as error:
        raise Answered(problem(400, "not-a-batch", str(error))) from None


def _receipt(judged: Accepted | Receipt, offsets: dict[int, int]) -> Receipt:
    if isinstance(judged, Receipt):
        return judged
    offset = offsets.get(judged.line)
    return intake.unavailable(judged) if offset is None else intake.stored(judged, offset)


def _one(receipt: Receipt) -> Response:
    if receipt.status == "accepted":
        return JSONResponse(receipt.as_json(), 202)
    if receipt.status == "unavailable":
        return problem(503, receipt.code or "", receipt.detail or "", {"Retry-After": "5"}, receipt=receipt.as_json())
    status = 413 if receipt.code == "too-large" else 400 if receipt.code in intake.FRAMING_CODES else 422
    return problem(status, receipt.code or "", receipt.detail or "", receipt=receipt.as_json())


def _many(receipts: Sequence[Receipt]) -> Response:
    summary = intake.summary(receipts)
    status = 200 if summary["accepted"] == summary["lines"] else 207
    headers = {"Retry-After": "5"} if summary["unavailable"] else None
    return JSONResponse({"receipts": [one.as_json() for one in receipts], "summary": summary}, status, headers)
