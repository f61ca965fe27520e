"""services.importer.sending: each answer that ingest can give."""

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
from tests.unit.sample_import import Ingest, answered, begun, send


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three rows a request, and no waiting between attempts."""
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
    "answer",
    [
        answered(*(UNAVAILABLE | {"line": line} for line in range(1, 7)), {"summary": {"lines": 6}}),
        answered(),
        *(answered({"error": {"code": code, "detail": "wait"}}) for code in PASSING_ENDS),
        httpx.Response(503, json={"code": "kafka-unavailable", "detail": "later"}, headers={"Retry-After": "5"}),
        httpx.Response(429),
        httpx.Response(500, json={}),
        httpx.Response(502, text="<html>"),
        httpx.Response(504),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("late"),
    ],
    ids=lambda answer: str(getattr(answer, "status_code", type(answer).__name__)),
)
async def test_what_was_not_stored_is_sent_again(
    ingest: Ingest, tmp_path: Path, answer: httpx.Response | Exception
) -> None:
    ingest.answers = [answer] * 3
    journal = await send(ingest, tmp_path / "journal")
    assert (journal.progress.rows, journal.progress.accepted) == (10, 8)
    assert len(ingest.requests) == 3 + 4
    assert len({request.content for request in ingest.requests[:4]}) == 1, "the same bytes: it cannot count twice"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(401, json={"code": "unknown-key", "detail": "Send a key."}), "401 unknown-key: Send a key."),
        (httpx.Response(400, json={"code": "not-a-batch", "detail": "It is empty."}), "not-a-batch"),
        (httpx.Response(404, text="<html>"), "is DDOR_INGEST_URL the address of ingest?"),
        (httpx.Response(404, json=["x"]), "is DDOR_INGEST_URL the address of ingest?"),
        (httpx.Response(200, json={}), "ingest answers 200"),
        (answered({"error": {"code": "unknown-key", "detail": "x"}}), "ends the stream: unknown-key"),
    ],
)
async def test_a_refused_request_ends_the_import_and_says_why(
    ingest: Ingest, tmp_path: Path, answer: httpx.Response, said: str
) -> None:
    ingest.answers = [answer]
    with pytest.raises(ImportRefusedError) as caught:
        await send(ingest, tmp_path / "journal")
    assert said in str(caught.value)
    assert isinstance(caught.value, CallerError)
    assert begun(tmp_path / "journal").progress.rows == 0


async def test_what_has_a_receipt_is_not_sent_again(ingest: Ingest, tmp_path: Path) -> None:
    """A stream that is cut off, ended, or stored in part goes on with what is missing: it got on, so waiting is new."""
    place = {"topic": "detainer-issued", "partition": 0}
    ingest.answers = [
        answered(
            {"line": 1, "status": "accepted", **place, "offset": 7},
            {"line": 2, "status": "unavailable", "code": "not-acknowledged", "retryable": True},
            {"line": 3, "status": "rejected", "code": "a-number", "detail": "data.facility: is shaped like one"},
        ),
        answered({"line": 2, "status": "accepted", **place, "offset": 8}, {"error": {"code": "receipts-not-read"}}),
    ]
    with stamina.set_testing(True, attempts=1):
        journal = await send(ingest, tmp_path / "journal")
    first, second, third, *_ = (request.content.splitlines() for request in ingest.requests)
    assert (len(first), second, third) == (6, [first[index] for index in (1, 3, 4, 5)], [second[0], *second[2:]])
    assert (journal.progress.rows, journal.progress.accepted, journal.progress.rejected) == (10, 7, 3)
    assert journal.progress.reasons["a-number"] == 1
    assert len({json.dumps(receipt) for receipt in journal.receipts_file.read_text().splitlines()}) == 16


async def test_when_ingest_stays_away_the_import_is_not_finished_and_says_so(ingest: Ingest, tmp_path: Path) -> None:
    away = httpx.Response(503, json={"code": "kafka-unavailable", "detail": "Later."})
    for answer, said in ((away, "503 kafka-unavailable"), (httpx.ConnectError("refused"), "refused")):
        ingest.answers = [answer] * 100
        with stamina.set_testing(True, attempts=3), pytest.raises(NotFinishedError, match=said):
            await send(ingest, tmp_path / "journal")
    assert begun(tmp_path / "journal").progress.rows == 0
