"""The files of all weeks on real data: every number equals that of the document of its revision."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any, cast
from zipfile import ZipFile

import httpx
import pytest
from frictionless import Package
from starlette.applications import Starlette

from schemas.jurisdiction import registry
from schemas.week import ReportingWeek
from services.publisher.site import all_weeks, files
from services.publisher.site.about import About
from services.publisher.site.all_weeks import AllWeeks
from services.publisher.site.reader import Reader
from services.publisher.site.routes import Site
from services.runtime import postgres
from services.runtime.clock import system
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support.in_process import running
from tests.support.life import WASHOE, Life, both, detainer, living
from tests.support.publishing import new_week

AUTAUGA = "01001"
Row = dict[str, str]


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
async def life(settings: MakeSettings, week: ReportingWeek) -> AsyncIterator[Life]:
    async with living(settings(first_week=week.first, restatement_weeks=8), week) as life:
        yield life


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the site, with connections of its own."""
    site = Site(lambda: postgres.pool(settings, "ddor-test"), About.of(settings), system)
    async with site.connected(), running(Starlette(routes=site.routes)) as http:
        yield http


async def publish(life: Life, week: ReportingWeek) -> ReportingWeek:
    """Three weeks, the second without events and the first in three revisions. Returns the week after them."""
    calendar = life.settings.calendar
    second = calendar.next(week)
    third = calendar.next(second)
    await life.write(*both(range(6), week), detainer("issued", 6, week, jurisdiction=AUTAUGA))
    await life.close(week)
    await life.write(detainer("declined", 7, week, jurisdiction=WASHOE))
    await life.close(second)
    await life.write(*both([8, 9], third), detainer("issued", 1, week, version=2, jurisdiction=AUTAUGA))
    await life.close(third)
    assert [(one[0], one[1]) for one in await life.revisions()] == [
        (str(week), 1), (str(second), 1), (str(week), 2), (str(third), 1), (str(week), 3)
    ]  # fmt: skip
    return calendar.next(third)


def lines(body: bytes) -> list[Row]:
    """The rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


async def documents(http: httpx.AsyncClient, life: Life) -> list[dict[str, Any]]:
    """The served documents of all revisions, by week and revision."""
    named = sorted((week, revision) for week, revision, _ in await life.revisions())
    return [(await http.get(f"/v1/reports/{week}/revisions/{number}.json")).json() for week, number in named]


def expected(reports: list[dict[str, Any]]) -> list[Row]:
    """The lines of these reports, computed from their documents."""
    return [
        {
            "week": report["week_start"],
            "revision": str(report["revision"]),
            "geoid": row["geoid"],
            "kind": kind,
            "n": "" if row[kind] is None else str(row[kind]),
            "status": "unknown" if row[kind] is None else "counted",
        }
        for report in reports
        for row in sorted(report["jurisdictions"], key=lambda row: str(row["geoid"]))
        for kind in ("issued", "declined")
    ]


def newest(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest revision of each week."""
    return list({report["week_start"]: report for report in reports}.values())


async def test_every_number_equals_that_of_its_document(
    life: Life, week: ReportingWeek, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_weeks, "REVISIONS_READ", 2)
    await publish(life, week)
    async with reading(life.settings) as http:
        reports = await documents(http, life)
        assert [len(one["jurisdictions"]) for one in reports] == [2, 3, 3, 0, 1]
        everything = await http.get("/v1/revisions.csv")
        assert lines(everything.content) == expected(reports)
        latest = await http.get("/v1/all.csv")
        assert lines(latest.content) == expected(newest(reports))
        assert {row["n"] for row in lines(latest.content) if row["status"] == "unknown"} == {""}
        assert [row for row in lines(latest.content) if row["geoid"] == AUTAUGA and row["kind"] == "declined"] == [
            {"week": str(week), "revision": "3", "geoid": AUTAUGA, "kind": "declined", "n": "", "status": "unknown"}
        ]
        assert latest.headers["content-type"] == "text/csv; charset=utf-8"
        assert latest.content.endswith(b"\r\n")


async def test_the_package_has_the_same_files_and_is_valid(life: Life, week: ReportingWeek, tmp_path: Path) -> None:
    await publish(life, week)
    async with reading(life.settings) as http:
        reports = await documents(http, life)
        response = await http.get("/v1/datapackage.zip")
        assert response.headers["content-type"] == "application/zip"
        assert int(response.headers["content-length"]) == len(response.content)
        files = unpacked(response.content)
        assert files["figures.csv"] == (await http.get("/v1/all.csv")).content
        assert files["revisions.csv"] == (await http.get("/v1/revisions.csv")).content
        listed = (await http.get("/v1/reports")).json()["reports"]
    weeks = lines(files["weeks.csv"])
    assert [(row["week"], row["week_end"], row["cause"], row["digest"]) for row in weeks] == [
        (one["week_start"], one["week_end"], one["cause"], one["digest"]) for one in reports
    ]
    assert [{kind: int(row[kind]) for kind in ("issued", "declined")} for row in weeks] == [
        one["totals"] for one in reports
    ]
    published = {row["digest"]: row["published_at"].replace("Z", "+00:00") for row in weeks}
    assert {one["digest"]: one["published_at"] for one in listed}.items() <= published.items()
    assert [row["geoid"] for row in lines(files["jurisdictions.csv"])] == [one.code for one in registry()]
    described = json.loads(files["datapackage.json"])
    assert described["version"] == "1.5.0"
    assert f"{described['created'][:-1]}" == max(published.values())[:19]
    assert [one["hash"] for one in described["resources"]] == [
        f"sha256:{hashlib.sha256(files[one['path']]).hexdigest()}" for one in described["resources"]
    ]
    assert problems(tmp_path, response.content) == []
    figures = cast("Any", Package(str(tmp_path / "datapackage.zip")).get_resource("figures")).read_rows()
    assert {type(row["geoid"]) for row in figures} == {str}
    assert sum(row["n"] or 0 for row in figures) == sum(sum(one["totals"].values()) for one in newest(reports))


async def test_a_wrong_package_is_invalid(life: Life, week: ReportingWeek, tmp_path: Path) -> None:
    """Each kind of damage is found by the types, keys, lengths or digests in it."""
    await publish(life, week)
    async with reading(life.settings) as http:
        body = (await http.get("/v1/datapackage.zip")).content
    line = f"{week},3,{AUTAUGA},issued,2,counted\r\n".encode()
    damages: dict[str, Callable[[bytes], bytes]] = {
        "type-error": lambda text: text.replace(line, line.replace(b",2,", b",2.5,")),
        "constraint-error": lambda text: text.replace(line, line.replace(b",2,", b",-2,")),
        "foreign-key": lambda text: text.replace(line, line.replace(b",01001,", b",01999,")),
        "primary-key": lambda text: text + line,
        "hash-count": lambda text: text.replace(line, line.replace(b",2,", b",3,")),
        "byte-count": lambda text: text.replace(line, b""),
    }
    for problem, damage in damages.items():
        found = problems(tmp_path, repacked(body, damage))
        assert problem in found, problem


def unpacked(body: bytes) -> dict[str, bytes]:
    """The files of an archive."""
    with ZipFile(io.BytesIO(body)) as opened:
        assert opened.testzip() is None
        return {name: opened.read(name) for name in opened.namelist()}


def repacked(body: bytes, damage: Callable[[bytes], bytes]) -> bytes:
    """The archive with changed figures."""
    files, made = unpacked(body), io.BytesIO()
    changed = damage(files["figures.csv"])
    assert changed != files["figures.csv"]
    with ZipFile(made, "w") as archived:
        for name, content in (files | {"figures.csv": changed}).items():
            archived.writestr(name, content)
    return made.getvalue()


def problems(directory: Path, body: bytes) -> list[str]:
    """The types of the errors that an independent program finds in a data package."""
    path = directory / "datapackage.zip"
    path.write_bytes(body)
    report = Package(str(path)).validate()
    assert report.valid == (not report.flatten(["type"]))
    return [kind for (kind,) in report.flatten(["type"])]


async def test_the_same_reports_give_the_same_bytes_and_a_new_report_another_tag(
    life: Life, week: ReportingWeek
) -> None:
    after = await publish(life, week)
    paths = ("/v1/all.csv", "/v1/revisions.csv", "/v1/datapackage.zip")
    async with reading(life.settings) as one, reading(life.settings) as other:
        first = {path: await one.get(path) for path in paths}
        for path in paths:
            again, head = await other.get(path), await other.head(path)
            assert again.content == first[path].content, path
            assert again.headers["etag"] == head.headers["etag"] == first[path].headers["etag"]
            assert (head.status_code, head.content) == (200, b"")
            unchanged = await one.get(path, headers={"If-None-Match": again.headers["etag"]})
            assert (unchanged.status_code, unchanged.content) == (304, b"")
            assert (await one.get(path, params={"as_of": "2017-01-28"})).json()["code"] == "unknown-parameter"
        await life.write(detainer("declined", 10, after))
        await life.close(after)
        for path in paths:
            changed = await one.get(path, headers={"If-None-Match": first[path].headers["etag"]})
            assert changed.status_code == 200, path
            assert changed.content != first[path].content


async def test_a_file_is_that_of_its_beginning(life: Life, week: ReportingWeek) -> None:
    """A report that is published while a client reads is in the next file, not in a part of this one."""
    after = await publish(life, week)
    reader = Reader(lambda: postgres.pool(life.settings, "ddor-test"))
    read = AllWeeks(reader)
    async with reader.connected():
        tip = await read.tip()
        whole = b"".join([piece async for piece in read.figures(tip, newest=True)])
        pieces = read.figures(tip, newest=True)
        begun = await anext(pieces)
        await life.write(detainer("declined", 11, week), detainer("declined", 10, after))
        await life.close(after)
        assert (await read.tip()).sequence == tip.sequence + 2
        assert begun + b"".join([piece async for piece in pieces]) == whole


async def test_without_reports_the_files_have_headers_only(store_settings: MakeSettings, tmp_path: Path) -> None:
    async with reading(store_settings(first_week=date(2017, 1, 28))) as http:
        for path in ("/v1/all.csv", "/v1/revisions.csv"):
            assert (await http.get(path)).content == b"week,revision,geoid,kind,n,status\r\n"
        body = (await http.get("/v1/datapackage.zip")).content
    assert problems(tmp_path, body) == []
    assert json.loads(unpacked(body)["datapackage.json"])["version"] == "1.0.0"


async def test_too_many_downloads_at_once_are_refused(
    life: Life, week: ReportingWeek, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(life, week)
    async with reading(life.settings) as http:
        for _ in range(3):
            monkeypatch.setattr(files, "MAX_DOWNLOADS", 1)
            assert (await http.get("/v1/all.csv")).status_code == 200, "an earlier file has been sent"
            monkeypatch.setattr(files, "MAX_DOWNLOADS", 0)
            refused = await http.get("/v1/revisions.csv")
            assert (refused.status_code, refused.json()["code"]) == (503, "too-many-downloads")
            assert "retry-after" in refused.headers
