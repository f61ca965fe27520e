"""`ddor verify --against DIR`: a copy of the site alone proves that no report was altered, removed or inserted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from schemas.report import Report
from services.cli import verify_site
from services.cli.site_copy import Revision
from services.cli.verify_document import NoSuchReportError
from services.cli.verify_site import Link, chain_problems
from tests.unit.sample_reports import report, snapshot

WEEK = date(2017, 1, 28)


def _link(number: int, digest: str, previous: str | None) -> Link:
    return Link(Revision(WEEK, number), digest, previous)


def test_a_complete_chain_has_no_problems() -> None:
    assert list(chain_problems([_link(3, "c", "b"), _link(1, "a", None), _link(2, "b", "a")])) == []


@pytest.mark.parametrize(
    ("links", "problem"),
    [
        ([_link(2, "b", "a")], "2017-01-28@2 names the report before it: a, which is missing"),
        ([_link(2, "b", "a")], "2017-01-28@1 is missing"),
        ([_link(2, "b", "a")], "the first report is missing"),
        ([_link(1, "a", None), _link(2, "b", None)], "2017-01-28@2 is the first report, and so does another revision"),
        ([_link(1, "a", None), _link(2, "b", "a"), _link(3, "c", "a")], "names the report before it: a, and so does"),
        ([_link(1, "a", None), _link(2, "a", None)], "two files have the same digest"),
    ],
)
def test_a_gap_or_a_branch_is_named(links: Sequence[Link], problem: str) -> None:
    assert any(problem in one for one in chain_problems(links))


def _write(directory: Path, number: int, previous: str | None) -> Report:
    document = report(snapshot({"32003": 118}, {"32003": 50 + number}))
    document = document.model_copy(update={"revision": number, "previous_digest": previous})
    path = directory / "v1" / "reports" / str(document.week_start) / "revisions" / f"{number}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document.document()), encoding="utf-8")
    return document


async def test_the_files_of_a_copy_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = _write(tmp_path, 1, None)
    second = _write(tmp_path, 2, first.digest)
    (tmp_path / "v1" / "reports" / str(first.week_start) / "revisions" / "1").mkdir()
    assert await verify_site.check(tmp_path) == 0
    assert second.digest in capsys.readouterr().out

    path = tmp_path / "v1" / "reports" / str(first.week_start) / "revisions" / "2.json"
    good = path.read_text(encoding="utf-8")
    path.write_text(good.replace('"declined": 52', '"declined": 51'), encoding="utf-8")
    assert await verify_site.check(tmp_path) == 1
    printed = capsys.readouterr().out
    assert f"{first.week_start}@2: the document digest does not match its content" in printed
    assert f"{first.week_start}@2: the figures digest does not match its content" in printed

    path.write_text(good, encoding="utf-8")
    path.rename(path.with_name("3.json"))
    assert await verify_site.check(tmp_path) == 1
    printed = capsys.readouterr().out
    assert f"{first.week_start}@3: contains {first.week_start}@2" in printed
    assert f"{first.week_start}@2 is missing" in printed


async def test_a_directory_without_reports_is_no_copy(tmp_path: Path) -> None:
    with pytest.raises(NoSuchReportError, match="is it a copy"):
        await verify_site.check(tmp_path)
