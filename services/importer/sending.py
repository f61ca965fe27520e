"""Sends a profile's rows to ingest as NDJSON. Resumable (see `journal`): no row is lost or counted twice."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Protocol

import httpx
import stamina

from schemas.acceptance import Refused
from schemas.acceptance_fast import accept_any_fast
from services.importer import https
from services.importer.journal import Journal, RowsDigest
from services.importer.rows import Event, Row
from services.runtime.errors import CallerError

ROWS_PER_REQUEST = 5_000
"""A row has at most two events. A request has no more lines than ingest buffers receipts for."""
_WAIT_SECONDS = 300.0
"""How long to retry without a new receipt."""
_PASSING = (429, 500, 502, 503, 504)
"""Temporary failures: retry the request."""
_PASSING_ENDS = ("too-many-events", "too-slow", "receipts-not-read")
"""The same for error codes that end a stream. Requests of other clients can fill the buffer of receipts."""
TIMEOUT = httpx.Timeout(60, write=_WAIT_SECONDS)
"""Of the HTTP client. Writing may take long: ingest reads a stream slowly if its agency exceeds its rate."""
_PIECE = 16_384
"""Bytes per write. The client's timeout applies to each write, so a slow stream does not fail."""


class ImportRefusedError(CallerError):
    """Ingest refuses the whole request. The message is that of ingest."""


class NotFinishedError(Exception):
    """Ingest or Kafka cannot be reached. The receipts until then are in the journal."""


class _TryAgain(Exception):  # noqa: N818  # not a failure: a reason to retry
    """An event was not stored, or ingest did not respond."""


class Envelopes:
    """Creates the CloudEvents of one data set. Complete CloudEvents from a file stay unchanged."""

    def __init__(self, agency: str, dataset: str) -> None:
        self._source = f"/agencies/{agency}"
        self._dataset = dataset

    def lines(self, row: Row) -> list[bytes]:
        """The events of a row, serialized."""
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
    """Returns a receipt for each line: ingest or, for a dry run, the acceptance rules alone."""

    async def send(self, lines: list[bytes]) -> list[dict[str, Any]]: ...


class Ingest:
    """Posts lines to ingest until each has a final receipt."""

    def __init__(self, client: httpx.AsyncClient, key: str, waits: Callable[[str], None] = lambda _: None) -> None:
        """`waits` is called with the reason when sending stops, once until it continues."""
        self._client = client
        self._waits = waits
        self._is_waiting = False
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}

    async def send(self, lines: list[bytes]) -> list[dict[str, Any]]:
        """The receipts of these lines, in order. Lines that have one are not sent again.

        Retries while ingest or Kafka cannot be reached. Raises NotFinishedError after five minutes without a receipt.
        """
        receipts: dict[int, dict[str, Any]] = {}
        try:
            while len(receipts) < len(lines):
                async for attempt in stamina.retry_context(
                    on=(_TryAgain, httpx.TransportError),
                    attempts=None, timeout=_WAIT_SECONDS, wait_initial=0.2, wait_max=5.0,
                ):  # fmt: skip
                    with attempt:
                        await self._try(lines, receipts)
        except (_TryAgain, httpx.TransportError) as error:
            raise NotFinishedError(f"{self._why(error)}; run the same command again to continue") from error
        return [receipts[index] for index in range(len(lines))]

    async def _try(self, lines: list[bytes], receipts: dict[int, dict[str, Any]]) -> None:
        try:
            await self._send_missing(lines, receipts)
        except (_TryAgain, httpx.TransportError) as error:
            https.check(error, self._where)
            if not self._is_waiting:
                self._waits(f"{self._why(error)}; retrying for {_WAIT_SECONDS:.0f} s")
            self._is_waiting = True
            raise
        self._is_waiting = False

    @property
    def _where(self) -> str:
        return self._client.base_url.netloc.decode()

    def _why(self, error: Exception) -> str:
        if isinstance(error, _TryAgain):
            return str(error)
        why = str(error) or type(error).__name__
        check = "check that it runs and that DDOR_INGEST_URL is its address"
        return f"ingest at {self._where} does not respond ({why}): {check}"

    async def _send_missing(self, lines: list[bytes], receipts: dict[int, dict[str, Any]]) -> None:
        """Send the lines without a receipt, once. Raises the error if that gives no new receipt."""
        known = len(receipts)
        try:
            await self._post([index for index in range(len(lines)) if index not in receipts], lines, receipts)
        except (_TryAgain, httpx.TransportError):
            if len(receipts) == known:
                raise

    async def _post(self, indexes: list[int], lines: list[bytes], receipts: dict[int, dict[str, Any]]) -> None:
        """Send some of the lines and collect the final receipts. Raises _TryAgain unless all are final."""
        body = _pieces(b"".join(lines[index] + b"\n" for index in indexes))
        async with self._client.stream("POST", "/v1/events", content=body, headers=self._headers) as response:
            if response.status_code != httpx.codes.MULTI_STATUS:
                await response.aread()
                if response.status_code in _PASSING:
                    raise _TryAgain(_reason(response))
                raise ImportRefusedError(_reason(response))
            async for text in response.aiter_lines():
                receipt = json.loads(text)
                if "error" in receipt:
                    raise _ended(receipt["error"]["code"])
                if receipt.get("status") in ("accepted", "rejected"):
                    receipts[indexes[receipt["line"] - 1]] = receipt
        if missing := sum(index not in receipts for index in indexes):
            raise _TryAgain(f"{missing:,} events were not stored")


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), _PIECE):
        yield body[at : at + _PIECE]


def _ended(code: str) -> Exception:
    message = f"ingest ended the stream: {code}"
    return _TryAgain(message) if code in _PASSING_ENDS else ImportRefusedError(message)


class DryRun:
    """Applies the acceptance rules and sends nothing."""

    async def send(self, lines: list[bytes]) -> list[dict[str, Any]]:
        """The receipts that ingest would give, except that the agency's scope and the clock are not checked."""
        return [self._receipt(line) for line in lines]

    def _receipt(self, line: bytes) -> dict[str, Any]:
        try:
            event = accept_any_fast(line)
        except Refused as refused:
            return {"status": "rejected", "code": refused.code, "detail": str(refused)}
        return {"status": "accepted", "topic": event.topic, "partition": None, "offset": None}


class Sender:
    """Sends rows to a destination and records the receipts in a journal."""

    def __init__(self, destination: Destination, envelopes: Envelopes) -> None:
        self._destination = destination
        self._envelopes = envelopes

    async def run(
        self, rows: Iterator[Row], journal: Journal, then: Callable[[], Iterator[Row]] | None = None
    ) -> AsyncIterator[int]:
        """Send all rows after the journal's progress. Yields how many more are done, first those done before.

        `then` gives more rows. It is called when all `rows` are in the journal, because its result depends on them.
        Raises AnotherFileError, before anything is sent, if `rows` do not begin with those in the journal.
        """
        digest = RowsDigest()
        sections = _Sections(rows, then)
        for passed in journal.pass_over(sections, digest):
            yield passed
        while chunk := sections.take(ROWS_PER_REQUEST):
            sent = [(row.number, line) for row in chunk for line in self._envelopes.lines(row)]
            receipts = await self._destination.send([line for _, line in sent]) if sent else []
            stored, refused = _sort([number for number, _ in sent], receipts)
            rejects: list[dict[str, Any]] = [
                {"row": row.number, "field": row.reject.field, "reason": row.reject.reason, "detail": row.reject.detail}
                for row in chunk
                if row.reject is not None
            ]
            rejects = sorted(rejects + refused, key=lambda reject: reject["row"])
            _locate(rejects, chunk)
            for row in chunk:
                digest.add(row)
            journal.note(chunk, digest, stored, rejects)
            yield len(chunk)


class _Sections(Iterator[Row]):
    """The rows of `first`, then those of `then`, which is called when `first` has no more."""

    def __init__(self, first: Iterator[Row], then: Callable[[], Iterator[Row]] | None) -> None:
        self._rows = first
        self._then = then

    def __next__(self) -> Row:
        found = self.take(1)
        if not found:
            raise StopIteration
        return found[0]

    def take(self, count: int) -> list[Row]:
        """The next rows, at most `count`, all of one section. Empty at the end."""
        found = list(islice(self._rows, count))
        if not found and self._then is not None:
            self._rows, self._then = self._then(), None
            found = list(islice(self._rows, count))
        return found


def _sort(numbers: list[int], receipts: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The receipts of stored events, and one reject for each row with a refused event."""
    stored: list[dict[str, Any]] = []
    refused: dict[int, dict[str, Any]] = {}
    for number, receipt in zip(numbers, receipts, strict=True):
        if receipt["status"] == "accepted":
            address = {name: receipt[name] for name in ("topic", "partition", "offset")}
            stored.append({"row": number, "kind": receipt["topic"].rpartition("-")[2], **address})
        else:
            refused[number] = {"row": number, "field": "", "reason": receipt["code"], "detail": receipt["detail"]}
    return stored, list(refused.values())


def _locate(rejects: list[dict[str, Any]], rows: list[Row]) -> None:
    """Begin each detail with the row's sheet and number, if the profile states them."""
    locations = {row.number: row.location for row in rows}
    for reject in rejects:
        reject["detail"] = locations[reject["row"]] + reject["detail"]


def _reason(response: httpx.Response) -> str:
    try:
        problem = response.json()
        return f"ingest responds {response.status_code} {problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"ingest responds {response.status_code}: check that DDOR_INGEST_URL is the address of ingest"
