"""services.importer.sending: nothing lost, nothing noted twice, wherever it is interrupted."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import stamina

from services.importer import sending
from services.importer.rows import Event, Reject, Row
from services.importer.sending import Envelopes, ImportRefusedError, Journal, NotFinishedError, Sender
from services.runtime.errors import CallerError

ROWS = 10
REFUSED_BY_INGEST = 4
REJECTED_BY_THE_PROFILE = 7


class Interrupted(Exception):  # noqa: N818  # stands for kill -9
    """The process ends here."""


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three rows a request, and no waiting between attempts."""
    monkeypatch.setattr(sending, "ROWS_PER_REQUEST", 3)
    with stamina.set_testing(True, attempts=20):
        yield


def rows() -> Iterator[Row]:
    """Rows of an issued and a declined event each; one has none and says why."""
    for number in range(1, ROWS + 1):
        if number == REJECTED_BY_THE_PROFILE:
            yield Row(number, (), Reject(number, "Facility", "unknown-facility", "column Facility"))
        else:
            data: dict[str, object] = {"detainer_id": f"id-{number}", "jurisdiction": "32003"}
            yield Row(number, (Event("issued", data), Event("declined", data)), None)


def answered(*lines: dict[str, Any]) -> httpx.Response:
    return httpx.Response(207, content=b"".join(json.dumps(line).encode() + b"\n" for line in lines))


class Ingest:
    """Answers as ingest does; `answers` are given first, and `stored` are ids in the order of arrival."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.requests: list[httpx.Request] = []
        self.answers: list[httpx.Response | Exception] = []
        self.after_storing: Exception | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        events = [json.loads(line) for line in request.content.splitlines()]
        receipts = [self._receipt(line, one) for line, one in enumerate(events, start=1)]
        if self.after_storing is not None:
            raise self.after_storing
        return answered(*receipts, {"summary": {"lines": len(receipts)}})

    def _receipt(self, line: int, one: dict[str, Any]) -> dict[str, Any]:
        number = int(one["subject"].removeprefix("id-"))
        if number == REFUSED_BY_INGEST and one["type"] == "detainer-declined":
            return {"line": line, "status": "rejected", "code": "out-of-range", "detail": "data.version: too low"}
        self.stored.append(one["id"])
        offset = 2 * number + (one["type"] == "detainer-declined")
        return {"line": line, "status": "accepted", "topic": one["type"], "partition": 0, "offset": offset}


@pytest.fixture
def ingest() -> Ingest:
    return Ingest()


async def send(ingest: Ingest, directory: Path, counts: list[int] | None = None) -> Journal:
    journal = Journal(directory, "demo", "set")
    async with httpx.AsyncClient(transport=httpx.MockTransport(ingest), base_url="http://ingest") as client:
        sender = Sender(sending.Ingest(client, "key"), Envelopes("demo", "set"))
        async for count in sender.run(rows(), journal):
            if counts is not None:
                counts.append(count)
            progress = journal.progress
            assert progress.rows == progress.accepted + progress.rejected
    return journal


def files(journal: Journal) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(journal.receipts_file.parent.iterdir())}


async def test_an_import_notes_every_row_and_every_receipt(ingest: Ingest, tmp_path: Path) -> None:
    counts: list[int] = []
    journal = await send(ingest, tmp_path / "journal", counts)
    assert counts == [3, 3, 3, 1]
    assert (journal.progress.rows, journal.progress.accepted, journal.progress.rejected) == (10, 8, 2)
    assert journal.progress.events == {"issued": 9, "declined": 8}
    assert journal.progress.reasons == {"out-of-range": 1, "unknown-facility": 1}
    receipts = [json.loads(line) for line in journal.receipts_file.read_text().splitlines()]
    assert len(receipts) == len(ingest.stored) == 17
    assert receipts[1] == {"row": 1, "kind": "declined", "topic": "detainer-declined", "partition": 0, "offset": 3}
    assert list(csv.DictReader(io.StringIO(journal.rejects_file.read_text()))) == [
        {"row": "4", "field": "", "reason": "out-of-range", "detail": "data.version: too low"},
        {"row": "7", "field": "Facility", "reason": "unknown-facility", "detail": "column Facility"},
    ]


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


async def test_an_import_that_is_done_sends_nothing_more(ingest: Ingest, tmp_path: Path) -> None:
    before = files(await send(ingest, tmp_path / "journal"))
    ingest.requests.clear()
    assert files(await send(ingest, tmp_path / "journal")) == before
    assert ingest.requests == []


STEPS = [
    "before it is sent", "stored, not answered", "answered", "receipts written", "rejects written", "progress written",
]  # fmt: skip


def interrupt(step: str, batch: int, ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process end at a step of one batch (counted from 0)."""
    calls = 0

    def ends(*_: object, **__: object) -> None:
        nonlocal calls
        calls += 1
        if calls > batch:
            raise Interrupted

    def before(original: Any) -> Any:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            ends()
            return original(*arguments, **named)

        return wrapped

    if step in STEPS[:2]:
        original = Ingest.__call__

        def receive(self: Ingest, request: httpx.Request) -> httpx.Response:
            answer = original(self, request) if step == STEPS[1] else None
            ends()
            return answer or original(self, request)

        monkeypatch.setattr(Ingest, "__call__", receive)
    elif step == "answered":
        monkeypatch.setattr(Journal, "note", before(Journal.note))
    elif step == "receipts written":
        calls = -1  # the heading of the rejects is the first
        monkeypatch.setattr(Journal, "_append_rejects", before(Journal._append_rejects))
    elif step == "rejects written":
        monkeypatch.setattr(Path, "write_text", before(Path.write_text))
    else:
        monkeypatch.setattr(Path, "replace", before(Path.replace))


@pytest.mark.parametrize("batch", range(4))
@pytest.mark.parametrize("step", STEPS)
async def test_an_interrupted_import_goes_on_where_it_was(
    ingest: Ingest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, batch: int
) -> None:
    once = Ingest()
    whole = files(await send(once, tmp_path / "whole"))
    with monkeypatch.context() as patch:
        interrupt(step, batch, ingest, patch)
        with pytest.raises(Interrupted):
            await send(ingest, tmp_path / "journal")
    interrupted = Journal(tmp_path / "journal", "demo", "set")
    assert interrupted.progress.rows == 3 * batch
    resumed = files(await send(ingest, tmp_path / "journal"))
    resumed.pop("progress.tmp", None)
    assert resumed == whole
    assert set(ingest.stored) == set(once.stored)


async def test_what_was_half_written_is_cut_off(ingest: Ingest, tmp_path: Path) -> None:
    whole = files(await send(ingest, tmp_path / "journal"))
    for name in ("receipts.ndjson", "rejects.csv"):
        with (tmp_path / "journal" / name).open("a") as file:
            file.write('{"row": 11, "ki')
    assert files(await send(ingest, tmp_path / "journal")) == whole


UNAVAILABLE = {"line": 1, "status": "unavailable", "code": "not-acknowledged", "retryable": True}


@pytest.mark.parametrize(
    "answer",
    [
        answered(*(UNAVAILABLE | {"line": line} for line in range(1, 7)), {"summary": {"lines": 6}}),
        answered(),
        *(answered({"error": {"code": code, "detail": "wait"}}) for code in ("too-many-events", "too-slow")),
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
        (answered({"error": {"code": "receipts-not-read", "detail": "x"}}), "ends the stream: receipts-not-read"),
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
    assert Journal(tmp_path / "journal", "demo", "set").progress.rows == 0


async def test_a_journal_belongs_to_one_data_set_of_one_agency(ingest: Ingest, tmp_path: Path) -> None:
    await send(ingest, tmp_path / "journal")
    for agency, dataset in (("demo", "other"), ("other", "set")):
        with pytest.raises(CallerError, match="choose another --journal"):
            Journal(tmp_path / "journal", agency, dataset)


async def test_what_has_a_receipt_is_not_sent_again(ingest: Ingest, tmp_path: Path) -> None:
    """A stream that is cut off, ended, or stored in part goes on with what is missing: it got on, so waiting is new."""
    place = {"topic": "detainer-issued", "partition": 0}
    ingest.answers = [
        answered(
            {"line": 1, "status": "accepted", **place, "offset": 7},
            {"line": 2, "status": "unavailable", "code": "not-acknowledged", "retryable": True},
            {"line": 3, "status": "rejected", "code": "a-number", "detail": "data.facility: is shaped like one"},
        ),
        answered({"line": 2, "status": "accepted", **place, "offset": 8}, {"error": {"code": "too-many-events"}}),
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
    assert Journal(tmp_path / "journal", "demo", "set").progress.rows == 0
