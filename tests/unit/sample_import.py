"""An import of a few rows, a fake ingest, and the contents of the journal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from services.importer import sending
from services.importer.journal import Journal
from services.importer.rows import Event, Reject, Row
from services.importer.sending import Envelopes, Sender

ROWS = 10
REFUSED_BY_INGEST = 4
REJECTED_BY_THE_PROFILE = 7


def rows() -> Iterator[Row]:
    """Rows with an issued and a declined event each, and one rejected row."""
    for number in range(1, ROWS + 1):
        if number == REJECTED_BY_THE_PROFILE:
            yield Row(number, (), Reject(number, "Facility", "unknown-facility", "column Facility"))
        else:
            data: dict[str, object] = {"detainer_id": f"id-{number}", "jurisdiction": "32003"}
            yield Row(number, (Event("issued", data), Event("declined", data)), None)


def responded(*lines: dict[str, Any]) -> httpx.Response:
    """The response to a stream."""
    return httpx.Response(207, content=b"".join(json.dumps(line).encode() + b"\n" for line in lines))


class Ingest:
    """Responds as ingest does. `responses` are used first; `stored` has the ids in the order of arrival."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.requests: list[httpx.Request] = []
        self.responses: list[httpx.Response | Exception] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.responses:
            response = self.responses.pop(0)
            if isinstance(response, Exception):
                raise response
            return response
        events = [json.loads(line) for line in request.content.splitlines()]
        receipts = [self._receipt(line, one) for line, one in enumerate(events, start=1)]
        return responded(*receipts, {"summary": {"lines": len(receipts)}})

    def _receipt(self, line: int, one: dict[str, Any]) -> dict[str, Any]:
        number = int(one["subject"].removeprefix("id-"))
        if number == REFUSED_BY_INGEST and one["type"] == "detainer-declined":
            return {"line": line, "status": "rejected", "code": "out-of-range", "detail": "data.version: too low"}
        self.stored.append(one["id"])
        offset = 2 * number + (one["type"] == "detainer-declined")
        return {"line": line, "status": "accepted", "topic": one["type"], "partition": 0, "offset": offset}


def begun(directory: Path, agency: str = "demo", dataset: str = "set", profile: str = "cloudevents") -> Journal:
    """The journal of an import, created or opened."""
    return Journal(directory, agency, dataset, profile)


async def send(
    ingest: Ingest, directory: Path, counts: list[int] | None = None, file: Callable[[], Iterator[Row]] = rows
) -> Journal:
    """Run or continue the import of these rows. `counts` collects its progress."""
    journal = begun(directory)
    async with httpx.AsyncClient(transport=httpx.MockTransport(ingest), base_url="http://ingest") as client:
        sender = Sender(sending.Ingest(client, "key"), Envelopes("demo", "set"))
        async for count in sender.run(file(), journal):
            if counts is not None:
                counts.append(count)
            progress = journal.progress
            assert progress.rows == progress.accepted + progress.rejected
    return journal


def files(journal: Journal) -> dict[str, str]:
    """The contents of the journal's files, by name."""
    return {path.name: path.read_text() for path in sorted(journal.receipts_file.parent.iterdir())}
