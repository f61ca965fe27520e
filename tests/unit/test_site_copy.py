"""`ddor recover --documents`: a file of a copy restores a revision only if its digest was announced."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from services.cli import site_copy
from services.cli.site_copy import OtherDocumentError, Revision, UnannouncedRevisionError
from services.cli.verify_document import NoSuchReportError
from services.publisher.announcements import Announced
from tests.unit.sample_reports import report, snapshot

_REPORT = report(snapshot({"32003": 118}, {"32003": 51}))
_ANNOUNCED = Announced(_REPORT.week_start, 1, _REPORT.digest, {}, datetime.fromtimestamp(0, UTC), False, 0, b"")


def _put(directory: Path, text: str, week: object = _REPORT.week_start, name: str = "1.json") -> Path:
    path = directory / "v1" / "reports" / str(week) / "revisions" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_document_of_an_announced_revision(tmp_path: Path) -> None:
    assert site_copy.document(tmp_path, _ANNOUNCED) is None
    _put(tmp_path, json.dumps(_REPORT.document()))
    assert site_copy.document(tmp_path, _ANNOUNCED) == _REPORT.document()
    assert site_copy.document(tmp_path, replace(_ANNOUNCED, final=True)) is None, "a notice has no document"


@pytest.mark.parametrize(
    ("changed", "problem"),
    [('"declined": 50', "the document digest does not match its content"), ('"declined": 51', "was published with")],
)
def test_a_document_with_other_bytes_is_refused(tmp_path: Path, changed: str, problem: str) -> None:
    _put(tmp_path, json.dumps(_REPORT.document()).replace('"declined": 51', changed))
    with pytest.raises(OtherDocumentError, match=problem):
        site_copy.document(tmp_path, replace(_ANNOUNCED, digest="0" * 64))


def test_a_file_that_is_no_report_is_refused(tmp_path: Path) -> None:
    _put(tmp_path, "{}")
    with pytest.raises(NoSuchReportError, match="is not a report"):
        site_copy.document(tmp_path, _ANNOUNCED)


def test_files_with_other_names_are_no_revisions(tmp_path: Path) -> None:
    for week, name in (
        ("2017-01-28", "10.json"),
        ("2017-01-28", "2.json"),
        ("2017-01-28", "0.json"),
        ("latest", "1.json"),
    ):
        _put(tmp_path, "", week, name)
    _put(tmp_path, "", "2017-01-28", "line-list.json")
    assert [one for one, _ in site_copy.files(tmp_path)] == [
        Revision(date(2017, 1, 28), 2), Revision(date(2017, 1, 28), 10),
    ]  # fmt: skip


def test_a_revision_that_nothing_announces_is_named(tmp_path: Path) -> None:
    _put(tmp_path, "")
    known = {Revision(_REPORT.week_start, 1): None}
    site_copy.check_announced(tmp_path, known)
    _put(tmp_path, "", name="2.json")
    with pytest.raises(UnannouncedRevisionError, match=f"1 revisions that neither .*: {_REPORT.week_start}@2"):
        site_copy.check_announced(tmp_path, known)
