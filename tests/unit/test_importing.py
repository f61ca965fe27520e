"""`ddor import`: the profile of whole CloudEvents, the dry run, and the exit codes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest
from typer.testing import CliRunner, Result

from schemas.acceptance import MAX_EVENT_BYTES
from services.cli.main import app
from services.importer import cloudevents, sending
from services.importer.journal import Journal
from services.importer.rows import Event, NotThisFileError, Reject, Row
from services.importer.sending import Envelopes, Rules, Sender
from tests.unit.sample_events import encoded, event

GOOD, BAD = encoded(event()), encoded(event(version=0))
LONG = GOOD.replace(b"{", b"{" + b" " * MAX_EVENT_BYTES, 1)


def rows(path: Path) -> list[Row]:
    return list(cloudevents.read(path, "demo", "set", ZoneInfo("America/New_York")))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_each_line_is_an_event_that_is_sent_as_it_is(tmp_path: Path, pack: type[bytes]) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(pack(b"\n".join([GOOD + b"\r", b"", LONG, b"x" * 70_000, b"no event", BAD])))
    found = rows(file)
    assert [(row.number, row.whole) for row in found if row.whole] == [(1, GOOD), (5, b"no event"), (6, BAD)]
    assert [(row.number, row.reject.reason) for row in found if row.reject] == [(3, "too-large"), (4, "too-large")]


@pytest.mark.parametrize(
    "content", [b"[]", b"a,b\n1,2\n", b"\n\n<x>", b"\x1f\x8b no gzip", gzip.compress(GOOD * 99)[:-9]]
)
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(NotThisFileError):
        rows(file)


async def test_a_dry_run_says_what_the_rules_say(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", "demo", "set", "ice-foia")
    told = [
        Row(1, (Event("issued", event()["data"]),), None),
        Row(2, (), None, encoded(event("declined"))),
        Row(3, (), None, BAD),
        Row(4, (), Reject(4, "Facility", "unknown-facility", "column Facility")),
    ]
    async for _ in Sender(Rules(), Envelopes("demo", "set")).run(iter(told), journal):
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
    return CliRunner().invoke(app, ["import", *map(str, arguments), "--profile", "cloudevents", "--dataset", "set"])


def test_a_dry_run_prints_the_summary_and_leaves_nothing(file: Path, tmp_path: Path) -> None:
    """Without a key, too, and without an ingest."""
    result = run(file, "--dry-run")
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    for said in ("dry run", "out-of-range", "issued events acceptable", "Nothing was sent"):
        assert said in words
    assert list(tmp_path.iterdir()) == [file]


def test_when_it_could_not_finish_it_is_1(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDOR_AGENCY_KEY", "key")
    monkeypatch.setenv("DDOR_INGEST_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(sending, "_WAIT_SECONDS", 0.1)
    result = run(file)
    assert result.exit_code == 1
    assert "the same command goes on" in " ".join(result.stderr.split())


def test_wrong_use_is_2(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(file).exit_code == 2, "no key"
    assert run(tmp_path / "missing", "--dry-run").exit_code == 2
    (tmp_path / "figures.csv").write_text("a,b\n")
    assert run(tmp_path / "figures.csv", "--dry-run").exit_code == 2
    monkeypatch.delenv("DDOR_AGENCY")
    assert run(file, "--dry-run").exit_code == 2


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What an ingest was sent that stores GOOD and refuses all else."""
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


def test_the_whole_way_is_0_and_is_not_gone_twice(file: Path, tmp_path: Path, requests: list[bytes]) -> None:
    for _ in range(2):
        result = run(file)
        assert result.exit_code == 0, result.output
        assert "out-of-range" in result.stdout
    assert requests == [GOOD + b"\n" + BAD + b"\n"]
    assert json.loads((tmp_path / "import-set" / "receipts.ndjson").read_text()) == {
        "row": 1, "kind": "issued", "topic": "detainer-issued", "partition": 3, "offset": 4,
    }  # fmt: skip


def test_another_file_under_a_name_that_was_used_is_2_and_nothing_is_sent(
    file: Path, tmp_path: Path, requests: list[bytes]
) -> None:
    """The next week's events, a corrected line, or a line less: never taken for what was answered."""
    assert run(file).exit_code == 0
    requests.clear()
    for other in (encoded(event("declined")) + b"\n" + BAD, GOOD + b"\n" + GOOD, GOOD):
        path = tmp_path / "next week.jsonl"
        path.write_bytes(other + b"\n")
        result = run(path)
        assert result.exit_code == 2
        assert "choose another --dataset and --journal" in " ".join(result.stderr.split())
    assert requests == []


def test_a_file_that_has_grown_is_gone_on_with(file: Path, requests: list[bytes]) -> None:
    assert run(file).exit_code == 0
    with file.open("ab") as appending:
        appending.write(GOOD + b"\n")
    result = run(file)
    assert result.exit_code == 0
    assert "going on behind row 2" in result.stderr
    assert requests[1:] == [GOOD + b"\n"]


def test_the_help_says_the_profiles_and_the_exit_codes() -> None:
    text = " ".join(CliRunner().invoke(app, ["import", "--help"]).stdout.replace("│", " ").split())
    for words in (
        "cloudevents",
        "ice-foia",
        "--dry-run",
        "0 each row was stored",
        "1 it could not finish",
        "2 wrong use",
        "has grown",
        "another file",
    ):
        assert words in text
