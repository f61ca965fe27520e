"""services.importer.journal: no row is lost or recorded twice after an interruption, and another file is refused."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import stamina

from services.importer import journal, sending
from services.importer.journal import AnotherFileError, Journal, RowsDigest
from services.importer.rows import Event, Reject, Row
from services.runtime.errors import CallerError
from tests.unit.sample_import import REJECTED_BY_THE_PROFILE, ROWS, Ingest, begun, files, rows, send


class Interrupted(Exception):  # noqa: N818  # simulates kill -9
    """The process is killed here."""


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three rows per request, and no delay between attempts."""
    monkeypatch.setattr(sending, "ROWS_PER_REQUEST", 3)
    with stamina.set_testing(True, attempts=20):
        yield


@pytest.fixture
def ingest() -> Ingest:
    return Ingest()


async def test_an_import_records_every_row_and_every_receipt(ingest: Ingest, tmp_path: Path) -> None:
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


async def test_a_complete_import_sends_nothing_more(ingest: Ingest, tmp_path: Path) -> None:
    before = files(await send(ingest, tmp_path / "journal"))
    ingest.requests.clear()
    assert files(await send(ingest, tmp_path / "journal")) == before
    assert ingest.requests == []


STEPS = [
    "before sending", "stored, no response", "response received",
    "receipts written", "rejects written", "progress written",
]  # fmt: skip


def interrupt(step: str, batch: int, ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill the process at a step of one batch (counted from 0)."""
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
            response = original(self, request) if step == STEPS[1] else None
            ends()
            return response or original(self, request)

        monkeypatch.setattr(Ingest, "__call__", receive)
    elif step == "response received":
        monkeypatch.setattr(Journal, "note", before(Journal.note))
    elif step == "receipts written":
        calls = -1  # the header of the rejects is the first call
        monkeypatch.setattr(Journal, "_append_rejects", before(Journal._append_rejects))
    elif step == "rejects written":
        monkeypatch.setattr(Path, "write_text", before(Path.write_text))
    else:
        monkeypatch.setattr(Path, "replace", before(Path.replace))


@pytest.mark.parametrize("batch", range(4))
@pytest.mark.parametrize("step", STEPS)
async def test_an_interrupted_import_continues(
    ingest: Ingest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, batch: int
) -> None:
    once = Ingest()
    whole = files(await send(once, tmp_path / "whole"))
    with monkeypatch.context() as patch:
        interrupt(step, batch, ingest, patch)
        with pytest.raises(Interrupted):
            await send(ingest, tmp_path / "journal")
    interrupted = begun(tmp_path / "journal")
    assert interrupted.progress.rows == 3 * batch
    resumed = files(await send(ingest, tmp_path / "journal"))
    resumed.pop("progress.tmp", None)
    assert resumed == whole
    assert set(ingest.stored) == set(once.stored)


async def test_incomplete_lines_are_cut_off(ingest: Ingest, tmp_path: Path) -> None:
    whole = files(await send(ingest, tmp_path / "journal"))
    for name in ("receipts.ndjson", "rejects.csv"):
        with (tmp_path / "journal" / name).open("a") as file:
            file.write('{"row": 11, "ki')
    assert files(await send(ingest, tmp_path / "journal")) == whole


async def test_a_journal_belongs_to_one_data_set_agency_and_profile(ingest: Ingest, tmp_path: Path) -> None:
    await send(ingest, tmp_path / "journal")
    for other in ({"agency": "other"}, {"dataset": "other"}, {"profile": "other"}):
        with pytest.raises(CallerError, match="choose another --journal"):
            begun(tmp_path / "journal", **other)


async def test_a_journal_without_a_digest_is_refused_and_not_changed(ingest: Ingest, tmp_path: Path) -> None:
    kept = await send(ingest, tmp_path / "journal")
    file = tmp_path / "journal" / "progress.json"
    known = json.loads(file.read_text())
    file.write_text(json.dumps({name: known[name] for name in known if name not in {"digest", "profile"}}))
    before = files(kept)
    with pytest.raises(CallerError, match="an earlier version and does not identify its file"):
        await send(ingest, tmp_path / "journal")
    assert files(kept) == before


def given(*changes: tuple[int, Row | None], of: Callable[[], Iterator[Row]] = rows) -> Callable[[], Iterator[Row]]:
    """A file like `of`, with some rows replaced or, if None, removed, by their number."""
    return lambda: (row for one in of() if (row := dict(changes).get(one.number, one)) is not None)


def further() -> Iterator[Row]:
    """The file with three more rows."""
    data: list[dict[str, object]] = [{"detainer_id": f"id-{ROWS + more}"} for more in (1, 2, 3)]
    yield from rows()
    yield from (Row(ROWS + more, (Event("issued", one),), None) for more, one in enumerate(data, start=1))


def wholes() -> Iterator[Row]:
    """A file of complete events."""
    for number in range(1, ROWS + 1):
        yield Row(number, (), None, b'{"id": "%d", "subject": "id-%d", "type": "detainer-issued"}' % (number, number))


def changed(number: int, **more: object) -> Row:
    """A row of the file with a different issued event."""
    data: dict[str, object] = {"detainer_id": f"id-{number}", "jurisdiction": "32003"}
    return Row(number, (Event("issued", data | more), Event("declined", data)), None)


SAME, WHOLE = list(rows()), list(wholes())
NO_EVENT = Row(3, (), Reject(3, "Facility", "unknown-facility", "column Facility"))
OTHERS = {
    "another value": given((2, changed(2, jurisdiction="32005"))),
    "another member": given((ROWS, changed(ROWS, form="I-247D"))),
    "one event fewer": given((1, Row(1, SAME[0].events[:1], None))),
    "events of other kinds": given((1, Row(1, (SAME[0].events[1], SAME[0].events[0]), None))),
    "a rejected row that is corrected": given((REJECTED_BY_THE_PROFILE, changed(REJECTED_BY_THE_PROFILE))),
    "a row that is now rejected": given((3, NO_EVENT)),
    "one row fewer": given((ROWS, None)),
    "no rows": given(*((number, None) for number in range(1, ROWS + 1))),
    "one row fewer and others after it": given((5, None), of=further),
    "other rows, and more": lambda: (changed(number, jurisdiction="06037") for number in range(1, 30)),
    "a row moved in the file": given((1, Row(2, SAME[0].events, None))),
    "whole events": wholes,
}


@pytest.mark.parametrize("name", OTHERS)
async def test_another_file_under_the_same_name_is_refused_and_nothing_is_sent(
    ingest: Ingest, tmp_path: Path, name: str
) -> None:
    before = files(await send(ingest, tmp_path / "journal"))
    ingest.requests.clear()
    with pytest.raises(AnotherFileError, match="choose another --dataset and --journal"):
        await send(ingest, tmp_path / "journal", file=OTHERS[name])
    assert ingest.requests == []
    assert files(begun(tmp_path / "journal")) == before
    assert issubclass(AnotherFileError, CallerError)


@pytest.mark.parametrize(
    "other",
    [
        given((4, Row(4, (), None, WHOLE[4].whole)), of=wholes),
        given((4, Row(4, (), None, (WHOLE[3].whole or b"") + b" ")), of=wholes),
        given((4, Row(4, (), Reject(4, "", "too-large", "x"))), of=wholes),
        given((4, Row(4, (), None, (WHOLE[3].whole or b"") + (WHOLE[4].whole or b""))), (5, None), of=wholes),
    ],
)
async def test_complete_events_are_compared_byte_for_byte(
    ingest: Ingest, tmp_path: Path, other: Callable[[], Iterator[Row]]
) -> None:
    await send(ingest, tmp_path / "journal", file=wholes)
    ingest.requests.clear()
    await send(ingest, tmp_path / "journal", file=wholes)
    with pytest.raises(AnotherFileError):
        await send(ingest, tmp_path / "journal", file=other)
    assert ingest.requests == []


async def test_a_file_that_has_grown_continues_after_the_acknowledged_rows(
    ingest: Ingest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_PIECE", 4)
    whole = files(await send(Ingest(), tmp_path / "whole", file=further))
    await send(ingest, tmp_path / "journal")
    ingest.requests.clear()
    counts: list[int] = []
    grown = await send(ingest, tmp_path / "journal", counts, further)
    assert counts == [4, 4, 2, 3], "rows with receipts are skipped first"
    assert [request.content.count(b"\n") for request in ingest.requests] == [3]
    assert files(grown) == whole


async def test_rows_without_a_receipt_may_change(ingest: Ingest, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        await send(ingest, tmp_path / "journal", file=_until_row_5)
    assert begun(tmp_path / "journal").progress.rows == 3
    done = await send(ingest, tmp_path / "journal", file=given((4, changed(4, form="I-247D"))))
    assert done.progress.rows == ROWS


def _until_row_5() -> Iterator[Row]:
    yield from SAME[:4]
    raise Interrupted


def test_skipped_rows_are_not_in_memory(tmp_path: Path) -> None:
    """A file may have millions of rows."""

    def many() -> Iterator[Row]:
        return (Row(number, (), None, b"%01000d" % number) for number in range(20_000))

    kept, digest = begun(tmp_path / "journal"), RowsDigest()
    for row in many():
        digest.add(row)
    kept.note(list(many()), digest, [], [])
    tracemalloc.start()
    try:
        assert sum(kept.pass_over(many(), RowsDigest())) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
