"""The response to one event, to a batch, and to a batch that is stored all or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import to_builtins
from starlette.responses import Response

from services.ingest.receipts import Receipt, Summary, encode
from services.runtime.problems import problem

RETRY = {"Retry-After": "5"}
_APPLIED = {"Preference-Applied": "handling=strict"}
_FRAMING_CODES = frozenset({"not-json", "not-utf8", "no-value"})


class EarlyResponse(Exception):  # noqa: N818  # ends a request early, not a failure
    """Ends a request with a response before its events are read."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def of_one(receipt: Receipt) -> Response:
    """The response to a single event."""
    if receipt.status == "accepted":
        return _json(receipt, 202)
    code, detail = receipt.code or "", receipt.detail or ""
    if receipt.status == "unavailable":
        return problem(503, code, detail, RETRY, retryable=True)
    status = 413 if code == "too-large" else 400 if code in _FRAMING_CODES else 422
    return problem(status, code, detail, id=receipt.id)


def of_many(receipts: Sequence[Receipt]) -> Response:
    """The response to a batch: 200 if all events are stored, else 207."""
    summary = _summary(receipts)
    status = 200 if summary.accepted == summary.lines else 207
    return _json({"receipts": receipts, "summary": summary}, status, RETRY if summary.unavailable else None)


def of_refused(receipts: Sequence[Receipt], events: int) -> Response:
    """The response to an all-or-nothing batch with refused events: nothing is stored, `receipts` has the reasons."""
    detail = f"{len(receipts)} of {events} events are refused, nothing is stored; see `receipts`."
    return problem(422, "batch-refused", detail, _APPLIED, receipts=to_builtins(receipts))


def of_all_or_nothing(receipts: Sequence[Receipt]) -> Response:
    """The response to an all-or-nothing batch without refused events: 200 if all events are stored, else 503."""
    if all(receipt.status == "accepted" for receipt in receipts):
        return _json({"receipts": receipts, "summary": _summary(receipts)}, 200, _APPLIED)
    detail = "Kafka did not acknowledge all events in time. Send the whole batch again; events never count twice."
    headers = _APPLIED | RETRY
    return problem(503, "not-acknowledged", detail, headers, retryable=True, receipts=to_builtins(receipts))


def _summary(receipts: Sequence[Receipt]) -> Summary:
    summary = Summary()
    summary.add(receipts)
    return summary


def _json(content: Any, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(encode(content), status, headers, media_type="application/json")
