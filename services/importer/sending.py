"""Sending a profile's rows through ingest: as lines, resumable (see `journal`), nothing lost, nothing counted twice."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Protocol

import httpx
import stamina

from schemas.acceptance import Refused
from schemas.acceptance_fast import accept_any_fast
from services.importer.journal import Journal, RowsDigest
from services.importer.rows import Event, Row
from services.runtime.errors import CallerError

ROWS_PER_REQUEST = 5_000
"""A row has at most two events, and a request no more lines than ingest keeps receipts of for who reads them late."""
_WAIT_SECONDS = 300.0
_PASSING = (429, 500, 502, 503, 504)
"""Statuses of a moment: the same request may be answered otherwise later."""
_PASSING_ENDS = ("too-many-events", "too-slow", "receipts-not-read")
"""The same of errors that end a stream. Receipts: a request has no more than are kept, unless others leave no room."""
TIMEOUT = httpx.Timeout(60, write=_WAIT_SECONDS)
"""For the client: ingest holds back a stream that is above its agency's rate, and then sending waits."""
_PIECE = 16_384
"""Bytes that are written at once: the client's time-out is for each, so that a slow stream is not given up."""


class ImportRefusedError(CallerError):
    """Ingest refuses the whole request; the message is its own."""


class NotFinishedError(Exception):
    """Ingest or Kafka stayed away; what was answered until then is noted."""


class _TryAgain(Exception):  # noqa: N818  # not a failure: a reason to wait
    """Something was not stored, or ingest did not answer."""


class Envelopes:
    """Makes the CloudEvents of one data set; those of a file that holds whole ones stay as they are."""

    def __init__(self, agency: str, dataset: str) -> None:
        self._source = f"/agencies/{agency}"
        self._dataset = dataset

    def lines(self, row: Row) -> list[bytes]:
        """The events of a row as they are sent."""
        if row.whole is not None:
            return [row.whole]
        return [json.dumps(self.document(row.number, one), separators=(",", ":")).encode() for one in row.events]

    def document(self, number: int, event: Event) -> dict[str, Any]:
        """The CloudEvent of a row."""
        return {
            "specversion": "1.0",
            "id": f"{self._dataset}/{number}/{event.kind}",
            "source": self._source,
            "type": f"detainer-{event.kind}",
            "subject": event.data["detainer_id"],
            "time": datetime.now(UTC).isoformat(),
            "dataschema": f"/schemas/detainer-{event.kind}/1",
            "datacontenttype": "application/json",
            "data": event.data,
        }


class Destination(Protocol):
    """Answers a receipt for each line: ingest, or the acceptance function alone."""

    async def answer(self, lines: list[bytes]) -> list[dict[str, Any]]: ...


class Ingest:
    """Posts lines until each has an answer that will not change by waiting."""

    def __init__(self, client: httpx.AsyncClient, key: str) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}

    async def answer(self, lines: list[bytes]) -> list[dict[str, Any]]:
        """The receipts of these lines, in order. What has one is not sent again.

        Waits while ingest or Kafka is away; NotFinishedError when five minutes bring no receipt.
        """
        receipts: dict[int, dict[str, Any]] = {}
        try:
            while len(receipts) < len(lines):
                async for attempt in stamina.retry_context(
                    on=(_TryAgain, httpx.TransportError),
                    attempts=None, timeout=_WAIT_SECONDS, wait_initial=0.2, wait_max=5.0,
                ):  # fmt: skip
                    with attempt:
                        await self._further(lines, receipts)
        except (_TryAgain, httpx.TransportError) as error:
            reason = str(error) or type(error).__name__
            raise NotFinishedError(f"{reason}; the same command goes on where this one ended") from error
        return [receipts[index] for index in range(len(lines))]

    async def _further(self, lines: list[bytes], receipts: dict[int, dict[str, Any]]) -> None:
        """Send what has no receipt, once. Raises what went wrong if nothing of it has one now."""
        known = len(receipts)
        try:
            await self._post([index for index in range(len(lines)) if index not in receipts], lines, receipts)
        except (_TryAgain, httpx.TransportError):
            if len(receipts) == known:
                raise

    async def _post(self, indexes: list[int], lines: list[bytes], receipts: dict[int, dict[str, Any]]) -> None:
        """Send some of the lines and note the receipts that are final; _TryAgain unless all of them are."""
        body = _pieces(b"".join(lines[index] + b"\n" for index in indexes))
        async with self._client.stream("POST", "/v1/events", content=body, headers=self._headers) as response:
            if response.status_code != httpx.codes.MULTI_STATUS:
                await response.aread()
                if response.status_code in _PASSING:
                    raise _TryAgain(_reason(response))
                raise ImportRefusedError(_reason(response))
            async for text in response.aiter_lines():
                told = json.loads(text)
                if "error" in told:
                    raise _ended(told["error"]["code"])
                if told.get("status") in ("accepted", "rejected"):
                    receipts[indexes[told["line"] - 1]] = told
        if missing := sum(index not in receipts for index in indexes):
            raise _TryAgain(f"{missing:,} events were not stored")


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), _PIECE):
        yield body[at : at + _PIECE]


def _ended(code: str) -> Exception:
    said = f"ingest ends the stream: {code}"
    return _TryAgain(said) if code in _PASSING_ENDS else ImportRefusedError(said)


class Rules:
    """Answers as the acceptance function does, and sends nothing: for a dry run."""

    async def answer(self, lines: list[bytes]) -> list[dict[str, Any]]:
        """What ingest would say of each line, but for the scope of the agency and the clock."""
        return [self._receipt(line) for line in lines]

    def _receipt(self, line: bytes) -> dict[str, Any]:
        try:
            event = accept_any_fast(line)
        except Refused as refused:
            return {"status": "rejected", "code": refused.code, "detail": str(refused)}
        return {"status": "accepted", "topic": event.topic, "partition": None, "offset": None}


class Sender:
    """Sends rows to a destination and notes in a journal what becomes of them."""

    def __init__(self, destination: Destination, envelopes: Envelopes) -> None:
        self._destination = destination
        self._envelopes = envelopes

    async def run(self, rows: Iterator[Row], journal: Journal) -> AsyncIterator[int]:
        """Send all rows behind the journal's progress; yields how many more are answered, those of before first.

        AnotherFileError, and nothing is sent, when `rows` do not begin with those that the journal has noted.
        """
        digest = RowsDigest()
        for passed in journal.pass_over(rows, digest):
            yield passed
        while chunk := list(islice(rows, ROWS_PER_REQUEST)):
            sent = [(row.number, line) for row in chunk for line in self._envelopes.lines(row)]
            receipts = await self._destination.answer([line for _, line in sent]) if sent else []
            stored, refused = _sort([number for number, _ in sent], receipts)
            rejects = [
                {"row": row.number, "field": row.reject.field, "reason": row.reject.reason, "detail": row.reject.detail}
                for row in chunk
                if row.reject is not None
            ]
            for row in chunk:
                digest.add(row)
            journal.note(len(chunk), digest, stored, sorted(rejects + refused, key=lambda reject: reject["row"]))
            yield len(chunk)


def _sort(numbers: list[int], receipts: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Receipts of what was stored, and one reject for each row of which an event was refused."""
    stored: list[dict[str, Any]] = []
    refused: dict[int, dict[str, Any]] = {}
    for number, receipt in zip(numbers, receipts, strict=True):
        if receipt["status"] == "accepted":
            place = {name: receipt[name] for name in ("topic", "partition", "offset")}
            stored.append({"row": number, "kind": receipt["topic"].rpartition("-")[2], **place})
        else:
            refused[number] = {"row": number, "field": "", "reason": receipt["code"], "detail": receipt["detail"]}
    return stored, list(refused.values())


def _reason(response: httpx.Response) -> str:
    try:
        told = response.json()
        return f"ingest answers {response.status_code} {told['code']}: {told['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"ingest answers {response.status_code}; is DDOR_INGEST_URL the address of ingest?"
