"""`ddor import` of a released file: a summary that reconciles, and nothing of a person in anything it writes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from schemas.acceptance_fast import accept_any_fast
from services.cli.main import command
from services.importer import sending
from services.importer.files import InputFile
from services.importer.ice_detainers import read
from services.importer.index import claim
from services.importer.journal import Journal, RowsDigest
from services.importer.sending import Envelopes, Sender
from tests.support import released_files as files
from tests.support.released_files import truth
from tests.unit.sample_released import CALENDAR

SECRETS = {
    "Birth Date": "1931-07-23", "identifier": "f00d" * 10, "EID DTA ID": "777000111", "birth_year": 1931,
    "Entry Date": "2001-03-04", "Other Removal Reason": "Juan Secreto", "TOD Current Duty Site": "Secreto",
}  # fmt: skip
ROWS = [
    truth(**SECRETS),
    truth(**SECRETS, lift_reason="Detainer Declined by LEA", notify_release="YES"),
    truth(**SECRETS, lift_reason="Duplicate"),
    truth(**SECRETS, lift_reason="Superseding - New Form Issued"),
    truth(**SECRETS, detainer_type="I247N - Request for Voluntary Notification", charge_code="5499"),
    truth(**SECRETS, lift_reason="Juan Secreto, 1931-07-23"),
    truth(**SECRETS, state=None),
]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DDOR_AGENCY", "demo")
    sheets = {"FY26": files.table("March 2026", ROWS), "FY24": files.table("March 2026", ROWS, without=["Birth Date"])}
    return files.xlsx(tmp_path / "released.xlsx", sheets)


def dry_run(path: Path, *words: str) -> Result:
    return CliRunner().invoke(
        command("import"),
        ["import", str(path), "--profile", "ice-detainers", "--dataset", "march", "--dry-run", *words],
    )


def summary(result: Result) -> dict[str, int]:
    """The table's lines by name."""
    assert result.exit_code == 0, result.output
    lines = [line.strip("│").rsplit("│", 1) for line in result.stdout.splitlines() if line.count("│") == 3]
    return {name.strip(): int(count.replace(",", "")) for name, count in lines}


def test_the_summary_reconciles_and_names_layout_and_sheets(path: Path) -> None:
    result = dry_run(path)
    counted = summary(result)
    assert counted == {
        "rows": 14,
        "sheet 'FY26', layout March 2026": 7,
        "sheet 'FY24', layout March 2026": 7,
        "accepted": 10,
        "counted": 6,
        "withdrawn": 4,
        "duplicate-record": 2,
        "superseded-by-new-form": 2,
        "requests for notification (I-247N)": 2,
        "notification of release requested too (Notify Release Request)": 2,
        "offense not known: a conviction code without a NIBRS category": 2,
        "rejected": 4,
        "unknown-lift-reason": 2,
        "no-state": 2,
        "issued events acceptable": 10,
        "declined events acceptable": 2,
    }
    assert counted["rows"] == counted["counted"] + counted["withdrawn"] + counted["rejected"]
    assert "sheet 'FY26', layout March 2026, header in row 7\n" in result.stderr


def test_a_mapping_is_an_option_of_this_profile_alone(path: Path) -> None:
    (path.parent / "m.toml").write_text('name = "Mine"')
    assert "sheet 'FY26', Mine" in summary(dry_run(path, "--mapping", "m.toml"))
    words = ["import", str(path), "--profile", "ice-foia", "--dataset", "x", "--dry-run", "--mapping", "m.toml"]
    result = CliRunner().invoke(command("import"), words)
    assert (result.exit_code, "--mapping is an option of the profile ice-detainers" in result.stderr) == (2, True)


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"a,b\n1,2\n", b"PAR1PAR1", bytes(2 << 20)])
def test_a_file_that_cannot_be_read_is_one_sentence_and_exit_code_2(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    result = dry_run(path)
    assert (result.exit_code, "Traceback" in result.output, result.stdout) == (2, False, "")
    assert result.stderr.startswith("released.xlsx: ")


async def test_nothing_of_a_person_is_sent_stored_or_logged(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sent: list[bytes] = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent.append(request.content + str(request.headers).encode())
        receipts: list[dict[str, Any]] = []
        for line, one in enumerate(request.content.splitlines(), 1):
            topic = accept_any_fast(one).topic
            receipts.append({"line": line, "status": "accepted", "topic": topic, "partition": 0, "offset": line})
        receipts[0] = {"line": 1, "status": "rejected", "code": "in-the-future", "detail": "data.issued_at: is later"}
        return httpx.Response(207, content=b"".join(json.dumps(one).encode() + b"\n" for one in receipts))

    journal = Journal(tmp_path / "journal", "demo", "march", "ice-detainers")
    async with httpx.AsyncClient(transport=httpx.MockTransport(respond), base_url="http://ingest") as client:
        sender = Sender(sending.Ingest(client, "key"), Envelopes("demo", "march"))
        async for _ in sender.run(read(InputFile(path), "demo", "march", CALENDAR), journal):
            pass
    stored = b"".join(file.read_bytes() for file in sorted((tmp_path / "journal").iterdir()))
    everything = (b"".join(sent) + stored).decode() + caplog.text
    assert [secret for secret in map(str, SECRETS.values()) if secret in everything] == []
    assert "Secreto" not in everything
    progress = journal.progress
    assert (progress.rows, progress.accepted, progress.rejected) == (14, 9, 5)
    assert progress.marks["withdrawn: duplicate-record"] == 2
    rejects = journal.rejects_file.read_text().splitlines()
    assert rejects[1] == "1,,in-the-future,\"sheet 'FY26', layout March 2026, row 8: data.issued_at: is later\""
    assert rejects[2].startswith("6,lift_reason,unknown-lift-reason,\"sheet 'FY26', layout March 2026, row 13: not a")


def imported(path: Path, *words: str) -> Result:
    """A dry run of the file after its import under another name."""
    journal = Journal(path.parent / "import-before", "demo", "before", "ice-detainers", indexed=True)
    assert journal.index is not None
    sent = list(read(InputFile(path), "demo", "before", CALENDAR))
    stored = {(row.number, event.kind) for row in sent for event in row.events}
    journal.index.note(sent, stored)
    journal.index.finish()
    journal.note([], RowsDigest(), [], [])
    journal.close()
    return dry_run(path, *words)


def test_a_dry_run_prints_the_overlap_and_sends_nothing(path: Path) -> None:
    result = imported(path, "--supersedes", "before")
    counted = summary(result)
    assert "compared with before: 10 rows in both, 0 of them changed; 0 only in before; 0 only in this" in result.stdout
    assert counted["unchanged since the earlier release, not sent again"] == 10
    assert counted["rows"] == counted["counted"] + counted["withdrawn"] + counted["rejected"] == 14
    assert "issued events acceptable" not in counted
    assert not (path.parent / "import-march").exists()


def test_rows_of_another_import_are_a_warning_that_names_the_option(path: Path) -> None:
    result = imported(path)
    assert "Warning: 10 rows are in data set before too: add --supersedes before if released.xlsx" in result.stderr
    assert summary(result)["issued events acceptable"] == 10


def test_nothing_of_a_person_is_in_the_index(path: Path) -> None:
    imported(path)
    stored = (path.parent / "import-before" / "index.sqlite").read_bytes()
    assert [secret for secret in map(str, SECRETS.values()) if secret.encode() in stored] == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--supersedes", "march"], "there is no journal with an index of data set march in"),
        (["--supersedes", "before", "--profile", "ice-foia"], "--supersedes is an option of the profile ice-detainers"),
    ],
)
def test_what_cannot_be_superseded_is_refused(path: Path, words: list[str], why: str) -> None:
    result = imported(path, *words)
    assert (result.exit_code, why in result.stderr) == (2, True), result.output


def test_a_superseded_data_set_takes_no_more_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported(path)
    claim(path.parent / "import-before" / "index.sqlite", "august")
    monkeypatch.setenv("DDOR_AGENCY_KEY", "key")
    words = ["import", str(path), "--profile", "ice-detainers", "--dataset", "before"]
    result = CliRunner().invoke(command("import"), words)
    assert result.exit_code == 2
    assert "data set august supersedes this one, and 12 or more events of the file were not sent" in result.stderr


def test_a_damaged_index_is_one_sentence(path: Path) -> None:
    imported(path)
    for content in (b"no index" * 99, b""):
        (path.parent / "import-before" / "index.sqlite").write_bytes(content)
        result = dry_run(path, "--supersedes", "before")
        assert (result.exit_code, "Traceback" in result.output) == (2, False), result.output
        assert "the journal's index, or that of an earlier release: " in result.stderr
