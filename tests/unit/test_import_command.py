"""`ddor import`: the profile of complete CloudEvents, the dry run, and the exit codes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest
from typer.testing import CliRunner, Result

from schemas.acceptance import MAX_EVENT_BYTES
from schemas.week import ReportingCalendar
from services.cli.main import command
from services.importer import cloudevents, sending
from services.importer.files import InputFile
from services.importer.journal import Journal
from services.importer.rows import Event, NotThisFileError, Reject, Row
from services.importer.sending import DryRun, Envelopes, Sender
from tests.unit.sample_events import encoded, event

GOOD, BAD = encoded(event()), encoded(event(version=0))
LONG = GOOD.replace(b"{", b"{" + b" " * MAX_EVENT_BYTES, 1)


def rows(path: Path) -> list[Row]:
    return list(cloudevents.read(InputFile(path), "demo", "set", ReportingCalendar(ZoneInfo("America/New_York"))))


@pytest.mark.parametrize("dataset", ["A12345678", "part-a2", "A1", "fy12-a12"])
def test_a_data_set_name_that_makes_ids_look_like_a_numbers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str
) -> None:
    monkeypatch.setenv("DDOR_AGENCY", "demo")
    (tmp_path / "events").write_bytes(GOOD)
    words = ["import", str(tmp_path / "events"), "--profile", "cloudevents", "--dataset", dataset, "--dry-run"]
    result = CliRunner().invoke(command("import"), words)
    assert (result.exit_code, "must not look like an A-number" in result.stderr) == (2, True)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_each_line_is_an_event_and_is_sent_unchanged(tmp_path: Path, pack: type[bytes]) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(pack(b"\n".join([GOOD + b"\r", b"", LONG, b"x" * 70_000, b"no event", BAD])))
    found = rows(file)
    assert [(row.number, row.whole) for row in found if row.whole] == [(1, GOOD), (5, b"no event"), (6, BAD)]
    assert [(row.number, row.reject.reason) for row in found if row.reject] == [(3, "too-large"), (4, "too-large")]


@pytest.mark.parametrize(
    "content", [b"[]", b"a,b\n1,2\n", b"\n\n<x>", b"\x1f\x8b no gzip", gzip.compress(GOOD * 99, mtime=0)[:-9]]
)
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(NotThisFileError):
        rows(file)


async def test_a_dry_run_applies_the_acceptance_rules(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", "demo", "set", "ice-foia")
    documents = [
        Row(1, (Event("issued", event()["data"]),), None),
        Row(2, (), None, encoded(event("declined"))),
        Row(3, (), None, BAD),
        Row(4, (), Reject(4, "Facility", "unknown-facility", "column Facility")),
    ]
    async for _ in Sender(DryRun(), Envelopes("demo", "set")).run(iter(documents), journal):
        pass
    assert (journal.progress.accepted, journal.progress.rejected) == (2, 2)
    assert journal.progress.events == {"issued": 1, "declined": 1}
    assert journal.progress.reasons == {"out-of-range": 1, "unknown-facility": 1}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DDOR_AGENCY", "ice-las-vegas")
    path = tmp_path / "events.jsonl"
    path.write_bytes(GOOD + b"\n" + BAD + b"\n")
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(
        command("import"), ["import", *map(str, arguments), "--profile", "cloudevents", "--dataset", "set"]
    )


def test_a_dry_run_prints_the_summary_and_writes_no_file(file: Path, tmp_path: Path) -> None:
    """It needs neither a key nor ingest."""
    result = run(file, "--dry-run")
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    for text in ("dry run", "out-of-range", "issued events acceptable", "Nothing was sent or stored"):
        assert text in words
    assert list(tmp_path.iterdir()) == [file]


def test_an_unfinished_import_exits_with_1(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDOR_AGENCY_KEY", "key")
    monkeypatch.setenv("DDOR_INGEST_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(sending, "_WAIT_SECONDS", 0.1)
    result = run(file)
    assert result.exit_code == 1
    assert "run the same command again" in " ".join(result.stderr.split())


def test_wrong_usage_exits_with_2(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(file).exit_code == 2, "no key"
    assert run(tmp_path / "missing", "--dry-run").exit_code == 2
    (tmp_path / "figures.csv").write_text("a,b\n")
    assert run(tmp_path / "figures.csv", "--dry-run").exit_code == 2
    monkeypatch.delenv("DDOR_AGENCY")
    assert run(file, "--dry-run").exit_code == 2


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The requests to an ingest that stores GOOD and refuses everything else."""
    monkeypatch.setenv("DDOR_AGENCY_KEY", "key")
    sent: list[bytes] = []

    def ingest(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        receipts = [_receipt(line, value) for line, value in enumerate(request.content.splitlines(), start=1)]
        return httpx.Response(207, content="".join(json.dumps(one) + "\n" for one in [*receipts, {"summary": {}}]))

    client = httpx.AsyncClient

    def offline(**more: object) -> httpx.AsyncClient:
        return client(transport=httpx.MockTransport(ingest), base_url=str(more["base_url"]))

    monkeypatch.setattr(httpx, "AsyncClient", offline)
    return sent


def _receipt(line: int, value: bytes) -> dict[str, object]:
    if value == GOOD:
        return {"line": line, "status": "accepted", "topic": "detainer-issued", "partition": 3, "offset": 4}
    return {"line": line, "status": "rejected", "code": "out-of-range", "detail": "data.version: is below"}


def test_a_complete_import_exits_with_0_and_sends_nothing_when_run_again(
    file: Path, tmp_path: Path, requests: list[bytes]
) -> None:
    for _ in range(2):
        result = run(file)
        assert result.exit_code == 0, result.output
        assert "out-of-range" in result.stdout
    assert requests == [GOOD + b"\n" + BAD + b"\n"]
    assert json.loads((tmp_path / "import-set" / "receipts.ndjson").read_text()) == {
        "row": 1, "kind": "issued", "topic": "detainer-issued", "partition": 3, "offset": 4,
    }  # fmt: skip


def test_another_file_under_a_used_name_exits_with_2_and_nothing_is_sent(
    file: Path, tmp_path: Path, requests: list[bytes]
) -> None:
    """The events of the next week, a corrected line, or a missing line are another file."""
    assert run(file).exit_code == 0
    requests.clear()
    for other in (encoded(event("declined")) + b"\n" + BAD, GOOD + b"\n" + GOOD, GOOD):
        path = tmp_path / "next week.jsonl"
        path.write_bytes(other + b"\n")
        result = run(path)
        assert result.exit_code == 2
        assert "choose another --dataset and --journal" in " ".join(result.stderr.split())
    assert requests == []


def test_an_import_of_a_file_that_has_grown_continues(file: Path, requests: list[bytes]) -> None:
    assert run(file).exit_code == 0
    with file.open("ab") as appending:
        appending.write(GOOD + b"\n")
    result = run(file)
    assert result.exit_code == 0
    assert "continuing after row 2" in result.stderr
    assert requests[1:] == [GOOD + b"\n"]


def test_an_import_of_a_damaged_file_exits_with_2_and_the_complete_file_continues(
    file: Path, requests: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "ROWS_PER_REQUEST", 1)
    complete = gzip.compress(GOOD + b"\n" + BAD + b"\n" + GOOD, mtime=0)
    file.write_bytes(complete[:-9])
    result = run(file)
    assert (result.exit_code, "the compressed file is damaged" in result.stderr) == (2, True)
    sent = list(requests)
    assert sent == [GOOD + b"\n", BAD + b"\n"][: len(sent)]
    file.write_bytes(complete)
    assert run(file).exit_code == 0
    assert requests == [GOOD + b"\n", BAD + b"\n", GOOD + b"\n"]


def test_the_help_lists_the_profiles_and_the_exit_codes() -> None:
    text = " ".join(CliRunner().invoke(command("import"), ["import", "--help"]).stdout.replace("│", " ").split())
    for words in (
        "cloudevents",
        "ice-foia",
        "--dry-run",
        "0: each row was stored",
        "1: not finished",
        "2: wrong usage",
        "has grown",
        "another file",
    ):
        assert words in text
