"""services.importer.sending: each response that ingest can give."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import stamina

from services.importer import sending
from services.importer.sending import ImportRefusedError, NotFinishedError
from services.runtime.errors import CallerError
from tests.unit.sample_import import Ingest, begun, responded, send


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three rows per request, and no delay between attempts."""
    monkeypatch.setattr(sending, "ROWS_PER_REQUEST", 3)
    with stamina.set_testing(True, attempts=20):
        yield


@pytest.fixture
def ingest() -> Ingest:
    return Ingest()


async def test_events_are_sent_as_cloud_events_with_the_agencys_key(ingest: Ingest, tmp_path: Path) -> None:
    await send(ingest, tmp_path / "journal")
    request = ingest.requests[0]
    assert request.url.path == "/v1/events"
    assert request.headers["authorization"] == "Bearer key"
    assert request.headers["content-type"] == "application/x-ndjson"
    first = json.loads(request.content.splitlines()[0])
    assert first.pop("time")
    assert first == {
        "specversion": "1.0",
        "id": "set/1/issued",
        "source": "/agencies/demo",
        "type": "detainer-issued",
        "subject": "id-1",
        "dataschema": "/schemas/detainer-issued/1",
        "datacontenttype": "application/json",
        "data": {"detainer_id": "id-1", "jurisdiction": "32003"},
    }


PASSING_ENDS = ("too-many-events", "too-slow", "receipts-not-read")
UNAVAILABLE = {"line": 1, "status": "unavailable", "code": "not-acknowledged", "retryable": True}


@pytest.mark.parametrize(
    "response",
    [
        responded(*(UNAVAILABLE | {"line": line} for line in range(1, 7)), {"summary": {"lines": 6}}),
        responded(),
        *(responded({"error": {"code": code, "detail": "wait"}}) for code in PASSING_ENDS),
        httpx.Response(503, json={"code": "kafka-unavailable", "detail": "later"}, headers={"Retry-After": "5"}),
        httpx.Response(429),
        httpx.Response(500, json={}),
        httpx.Response(502, text="<html>"),
        httpx.Response(504),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("late"),
    ],
    ids=lambda response: str(getattr(response, "status_code", type(response).__name__)),
)
async def test_events_that_were_not_stored_are_sent_again(
    ingest: Ingest, tmp_path: Path, response: httpx.Response | Exception
) -> None:
    ingest.responses = [response] * 3
    journal = await send(ingest, tmp_path / "journal")
    assert (journal.progress.rows, journal.progress.accepted) == (10, 8)
    assert len(ingest.requests) == 3 + 4
    assert len({request.content for request in ingest.requests[:4]}) == 1, "the same bytes: it cannot count twice"


@pytest.mark.parametrize(
    ("response", "detail"),
    [
        (httpx.Response(401, json={"code": "unknown-key", "detail": "Send a key."}), "401 unknown-key: Send a key."),
        (httpx.Response(400, json={"code": "not-a-batch", "detail": "It is empty."}), "not-a-batch"),
        (httpx.Response(404, text="<html>"), "check that DDOR_INGEST_URL is the address of ingest"),
        (httpx.Response(404, json=["x"]), "check that DDOR_INGEST_URL is the address of ingest"),
        (httpx.Response(200, json={}), "ingest responds 200"),
        (responded({"error": {"code": "unknown-key", "detail": "x"}}), "ingest ended the stream: unknown-key"),
    ],
)
async def test_a_refused_request_ends_the_import_with_the_reason(
    ingest: Ingest, tmp_path: Path, response: httpx.Response, detail: str
) -> None:
    ingest.responses = [response]
    with pytest.raises(ImportRefusedError) as caught:
        await send(ingest, tmp_path / "journal")
    assert detail in str(caught.value)
    assert isinstance(caught.value, CallerError)
    assert begun(tmp_path / "journal").progress.rows == 0


async def test_events_with_a_receipt_are_not_sent_again(ingest: Ingest, tmp_path: Path) -> None:
    """After a partial response the missing events are sent. Any receipt resets the time limit."""
    address = {"topic": "detainer-issued", "partition": 0}
    ingest.responses = [
        responded(
            {"line": 1, "status": "accepted", **address, "offset": 7},
            {"line": 2, "status": "unavailable", "code": "not-acknowledged", "retryable": True},
            {"line": 3, "status": "rejected", "code": "a-number", "detail": "data.facility: is shaped like one"},
        ),
        responded({"line": 2, "status": "accepted", **address, "offset": 8}, {"error": {"code": "receipts-not-read"}}),
    ]
    with stamina.set_testing(True, attempts=1):
        journal = await send(ingest, tmp_path / "journal")
    first, second, third, *_ = (request.content.splitlines() for request in ingest.requests)
    assert (len(first), second, third) == (6, [first[index] for index in (1, 3, 4, 5)], [second[0], *second[2:]])
    assert (journal.progress.rows, journal.progress.accepted, journal.progress.rejected) == (10, 7, 3)
    assert journal.progress.reasons["a-number"] == 1
    assert len({json.dumps(receipt) for receipt in journal.receipts_file.read_text().splitlines()}) == 16


async def test_without_ingest_the_import_does_not_finish(ingest: Ingest, tmp_path: Path) -> None:
    away = httpx.Response(503, json={"code": "kafka-unavailable", "detail": "Later."})
    for response, detail in ((away, "503 kafka-unavailable"), (httpx.ConnectError("refused"), "refused")):
        ingest.responses = [response] * 100
        with stamina.set_testing(True, attempts=3), pytest.raises(NotFinishedError, match=detail):
            await send(ingest, tmp_path / "journal")
    assert begun(tmp_path / "journal").progress.rows == 0


async def test_an_outage_of_ingest_is_reported_once(ingest: Ingest) -> None:
    reported: list[str] = []
    refusal, receipt = httpx.ConnectError("refused"), {"line": 1, "status": "accepted", "topic": "detainer-issued"}
    there = httpx.Response(207, text=json.dumps(receipt))
    ingest.responses = [*[refusal] * 3, there, *[httpx.Response(503)] * 2, there]
    async with httpx.AsyncClient(transport=httpx.MockTransport(ingest), base_url="http://ada:key@ingest:81") as client:
        sender = sending.Ingest(client, "key", reported.append)
        for _ in range(2):
            assert await sender.send([b"{}"]) == [receipt]
    assert reported == [
        "ingest at ingest:81 does not respond (refused): check that it runs and that DDOR_INGEST_URL is its address;"
        " retrying for 300 s",
        "ingest responds 503: check that DDOR_INGEST_URL is the address of ingest; retrying for 300 s",
    ]
