"""`ddor verify --against`: a file that is not a report is refused, whatever its content."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given

from schemas.report import Report
from services.cli import verify_document
from services.cli.verify_document import NoSuchReportError
from services.cli.verify_findings import Findings
from tests.support import foreign
from tests.unit.sample_reports import report, snapshot

_REPORT = report(snapshot({"32003": 118}, {"32003": 51}))


def _served(document: Report) -> bytes:
    return foreign.encoded(document.model_dump(mode="json") | {"digest": document.digest})


def _digests_differ(file: Path, value: bytes) -> bool:
    file.write_bytes(value)
    findings = Findings()
    verify_document.check_digests(verify_document.read(file), findings)
    return findings.differ


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("offline") / "report.json"


@pytest.mark.parametrize("name", foreign.CORPUS)
def test_a_file_that_is_not_a_report_is_refused(file: Path, name: str) -> None:
    with pytest.raises(NoSuchReportError, match="is not a report"):
        _digests_differ(file, foreign.CORPUS[name] or b"")


def test_a_report_without_a_digest_is_refused(file: Path) -> None:
    with pytest.raises(NoSuchReportError):
        _digests_differ(file, foreign.encoded(_REPORT.model_dump(mode="json")))


def test_a_downloaded_report_has_its_digests(file: Path) -> None:
    assert not _digests_differ(file, _served(_REPORT))


@given(value=foreign.VALUES | foreign.mutated(_served(_REPORT)))
def test_no_file_ends_in_a_traceback(file: Path, value: bytes | None) -> None:
    with suppress(NoSuchReportError):
        _digests_differ(file, value or b"")
