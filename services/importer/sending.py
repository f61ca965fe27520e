"""Sending a profile's rows through ingest: in batches, resumable, nothing lost and nothing counted twice.

What has been answered is kept in a directory: `progress.json`, `receipts.ndjson` (each event that was stored, and
where) and `rejects.csv` (each row that was not, and why). After an interruption the same command goes on behind the
last row that was answered; a batch that was stored but not yet noted is sent again, which cannot count twice.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import stamina

from services.importer.rows import Event, Row
from services.runtime.errors import CallerError

ROWS_PER_REQUEST = 400
_REJECT_COLUMNS = ("row", "field", "reason", "detail")
_WAIT_SECONDS = 300.0


class ImportRefusedError(CallerError):
    """Ingest refuses the whole request; the message is its own."""


class IngestAwayError(CallerError):
    """Ingest stored nothing for five minutes; what was answered before is kept."""


class _TryAgain(Exception):  # noqa: N818  # not a failure: a reason to wait
    """Something was not stored, or ingest did not answer."""


@dataclass(slots=True)
class Progress:
    """How far an import has come. `rows` = `accepted` + `rejected`, always."""

    dataset: str
    agency: str
    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    events: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    receipts_bytes: int = 0
    rejects_bytes: int = 0


class Journal:
    """The files of one import. `note` writes what was answered, and last of all the progress, atomically."""

    def __init__(self, directory: Path, agency: str, dataset: str) -> None:
        """Open or begin; CallerError when the directory belongs to another data set."""
        directory.mkdir(parents=True, exist_ok=True)
        self._progress_file = directory / "progress.json"
        self.receipts_file = directory / "receipts.ndjson"
        self.rejects_file = directory / "rejects.csv"
        self.progress = self._read(agency, dataset)
        for path, size in (
            (self.receipts_file, self.progress.receipts_bytes),
            (self.rejects_file, self.progress.rejects_bytes),
        ):
            path.touch()
            with path.open("r+b") as file:
                file.truncate(size)
        if self.progress.rejects_bytes == 0:
            self._append_rejects([dict(zip(_REJECT_COLUMNS, _REJECT_COLUMNS, strict=True))])

    def _read(self, agency: str, dataset: str) -> Progress:
        if not self._progress_file.exists():
            return Progress(dataset, agency)
        kept = json.loads(self._progress_file.read_text())
        progress = Progress(**kept)
        if (progress.dataset, progress.agency) != (dataset, agency):
            raise CallerError(
                f"{self._progress_file.parent} belongs to data set {progress.dataset} of {progress.agency}; "
                "choose another --journal"
            )
        return progress

    def note(self, rows: int, receipts: Iterable[dict[str, Any]], rejects: list[dict[str, Any]]) -> None:
        """Note the answers to the next `rows` rows."""
        with self.receipts_file.open("ab") as file:
            for receipt in receipts:
                file.write(json.dumps(receipt, separators=(",", ":")).encode() + b"\n")
                _count(self.progress.events, receipt["kind"])
            self.progress.receipts_bytes = file.tell()
        self._append_rejects(rejects)
        self.progress.rows += rows
        self.progress.rejected += len(rejects)
        self.progress.accepted = self.progress.rows - self.progress.rejected
        for reject in rejects:
            _count(self.progress.reasons, reject["reason"])
        temporary = self._progress_file.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self.progress)))
        temporary.replace(self._progress_file)

    def _append_rejects(self, rejects: list[dict[str, Any]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, _REJECT_COLUMNS, lineterminator="\n")
        writer.writerows(rejects)
        with self.rejects_file.open("ab") as file:
            file.write(text.getvalue().encode())
            self.progress.rejects_bytes = file.tell()


class Sender:
    """Posts batches until each event has an answer that will not change by waiting."""

    def __init__(self, client: httpx.AsyncClient, agency: str, key: str, dataset: str) -> None:
        self._client = client
        self._source = f"/agencies/{agency}"
        self._headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/cloudevents-batch+json",
        }
        self._dataset = dataset

    async def run(self, rows: Iterator[Row], journal: Journal) -> AsyncIterator[int]:
        """Send all rows behind the journal's progress; yields how many more were answered, batch by batch."""
        remaining = islice(rows, journal.progress.rows, None)
        while chunk := list(islice(remaining, ROWS_PER_REQUEST)):
            events = [(row.number, event) for row in chunk for event in row.events]
            receipts = await self._answer([self._envelope(number, event) for number, event in events]) if events else []
            stored, refused = _sort(events, receipts)
            rejects = [
                {"row": row.number, "field": row.reject.field, "reason": row.reject.reason, "detail": row.reject.detail}
                for row in chunk
                if row.reject is not None
            ]
            journal.note(len(chunk), stored, sorted(rejects + refused, key=lambda reject: reject["row"]))
            yield len(chunk)

    def _envelope(self, number: int, event: Event) -> dict[str, Any]:
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

    async def _answer(self, envelopes: list[dict[str, Any]]) -> list[dict[str, Any]]:
        try:
            return await self._post(envelopes)
        except (_TryAgain, httpx.TransportError) as error:
            reason = str(error) or type(error).__name__
            raise IngestAwayError(f"ingest stores nothing ({reason}); the same command goes on where it was") from error

    async def _post(self, envelopes: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The receipts of one batch. Waits, up to five minutes, while ingest or Kafka is away."""
        body = json.dumps(envelopes, separators=(",", ":")).encode()
        async for attempt in stamina.retry_context(
            on=(_TryAgain, httpx.TransportError), attempts=None, timeout=_WAIT_SECONDS, wait_initial=0.2, wait_max=5.0
        ):
            with attempt:
                response = await self._client.post("/v1/events", content=body, headers=self._headers)
                if response.status_code in (429, 502, 503, 504):
                    raise _TryAgain(f"it answers {response.status_code}")
                if response.status_code not in (200, 207):
                    raise ImportRefusedError(_reason(response))
                receipts: list[dict[str, Any]] = response.json()["receipts"]
                if any(receipt["status"] == "unavailable" for receipt in receipts):
                    raise _TryAgain("it has not stored all")
                return receipts
        raise AssertionError("retry_context returns or raises")


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def _sort(
    events: list[tuple[int, Event]], receipts: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Receipts of what was stored, and one reject for each row of which an event was refused."""
    stored: list[dict[str, Any]] = []
    refused: dict[int, dict[str, Any]] = {}
    for (number, event), receipt in zip(events, receipts, strict=True):
        if receipt["status"] == "accepted":
            place = {name: receipt[name] for name in ("topic", "partition", "offset")}
            stored.append({"row": number, "kind": event.kind, **place})
        else:
            refused[number] = {"row": number, "field": "", "reason": receipt["code"], "detail": receipt["detail"]}
    return stored, list(refused.values())


def _reason(response: httpx.Response) -> str:
    try:
        told = response.json()
        return f"ingest answers {response.status_code} {told['code']}: {told['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"ingest answers {response.status_code}; is DDOR_INGEST_URL the address of ingest?"
