"""`ddor site` over a real database: complete, the same bytes, incremental, and after failures."""

from __future__ import annotations

import asyncio
import functools
import http.server
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit
from xml.etree import ElementTree as ET

import httpx
import pytest
from starlette.applications import Starlette

from schemas.week import ReportingWeek
from services.publisher.queries import SQL
from services.publisher.site.routes import Site
from services.publisher.static_site import copy
from services.runtime import postgres
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import commands
from tests.support.positions import Connection
from tests.support.published import inputs, publish
from tests.support.waiting import until
from tests.unit.sample_reports import CALENDAR, Declined
from tests.unit.sample_site import tree

FIRST = CALENDAR.week(date(2017, 1, 28))
CLARK, WASHOE, NASSAU = "32003", "32031", "36059"
LIST = "v1/reports/2017-02-04/revisions/1/line-list.json"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An empty directory: `tmp_path` has files of other fixtures."""
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


def _week(number: int) -> ReportingWeek:
    return CALENDAR.week(FIRST.first + timedelta(days=7 * number))


@pytest.fixture
async def settings(store_settings: MakeSettings, connection: Connection) -> Settings:
    """A database with three weeks: the first is final and has two revisions, the second has a line list."""
    await publish(connection, FIRST, {CLARK: 8, NASSAU: 3}, {CLARK: 5}, state="final")
    await publish(connection, FIRST, {CLARK: 9, NASSAU: 3}, {CLARK: 5}, revision=2, state="final")
    declines = [Declined() for _ in range(6)]
    await publish(connection, _week(1), {CLARK: 7}, {CLARK: 6}, declines=declines, used=inputs("coarse"))
    await publish(connection, _week(2), {}, {WASHOE: 2})
    return store_settings()


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("href", "src", "action", "xlink:href")]


def _links(name: str, body: bytes) -> list[str]:
    """The links of a file, as a parser of HTML or XML reads them, except for external ones."""
    if name.endswith(".atom"):
        found = [one.get("href", "") for one in ET.fromstring(body).iter("{http://www.w3.org/2005/Atom}link")]
    else:
        parser = _Links()
        parser.feed(body.decode())
        found = parser.found
    return [one for one in found if not urlsplit(one).scheme]


def _linking(files: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    for name, body in files.items():
        if name.endswith((".html", ".atom")):
            yield from ((name, link) for link in _links(name, body))


@asynccontextmanager
async def _served(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    site = Site(lambda: postgres.pool(settings, "ddor-test"), CALENDAR)
    async with site.connected():
        transport = httpx.ASGITransport(Starlette(routes=site.routes))
        async with httpx.AsyncClient(transport=transport, base_url="http://publisher") as client:
            yield client


@contextmanager
def _web_server(where: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(where))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


async def test_every_link_leads_to_a_file_with_and_without_a_web_server(settings: Settings, directory: Path) -> None:
    await copy.write(settings, directory)
    files = dict(tree(directory))
    linking = list(_linking(files))
    assert len(linking) > 100
    for name, link in linking:
        target = urlsplit(urljoin(f"file:///{name}", link))
        assert unquote(target.path)[1:] in files, f"{name}: {link}"
        assert not link.startswith("/"), f"{name}: {link}"
    expected = {
        "index.html", "reports/index.html", "reports/latest/index.html", "reports/2017-01-28/index.html", "feed.atom",
        "jurisdictions/32003/index.html", "v1/series/32031.json", "v1/reports.json", "v1/reports/latest.csv", LIST,
        "v1/reports/2017-01-28/revisions/1.html", "v1/reports/2017-01-28/revisions/2.json", "README.txt", "SHA256SUMS",
    }  # fmt: skip
    assert expected < files.keys()
    assert not [name for name in files if "31037" in name], "Clark County, Nebraska has no row"
    with _web_server(directory) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as web:
            for path in sorted({urlsplit(urljoin(f"{url}/{name}", link)).path for name, link in linking}):
                assert (await web.get(path)).status_code == 200, path
            page = await web.get("/reports/2017-01-28", follow_redirects=True)
            assert page.content == files["reports/2017-01-28/index.html"], "addresses of pages remain valid"


async def test_json_and_csv_are_the_served_bytes_and_can_be_verified(settings: Settings, directory: Path) -> None:
    await copy.write(settings, directory)
    files, compared = tree(directory), 0
    async with _served(settings) as http:
        for name, body in files.items():
            if name.startswith("v1/reports/") and name.endswith((".json", ".csv")) and name != LIST:
                assert (await http.get(f"/{name}")).content == body, name
                compared += 1
        assert (await http.get(f"/{LIST.removesuffix('.json')}")).content == files[LIST]
        assert (await http.get("/v1/series?geoid=32003")).content == files["v1/series/32003.json"]
        page = (await http.get("/reports/2017-01-28")).text
    assert compared == 2 * (4 + 3 + 1), "four revisions, three weeks, the latest one"
    assert page.count("href=") == files["reports/2017-01-28/index.html"].count(b"href=") + page.count("31037")
    _sums_agree(directory, files)
    done = await commands.ddor(settings, "verify", "--against", str(directory / "v1/reports/2017-01-28.json"))
    assert done.exit_code == 0, done.output


def _output(where: Path, *command: str) -> bytes:
    return subprocess.run(command, cwd=where, capture_output=True, check=True).stdout


def _sums_agree(where: Path, files: Mapping[str, bytes]) -> None:
    assert _output(where, "sha256sum", "--check", "--quiet", "SHA256SUMS") == b""
    assert len(files["SHA256SUMS"].splitlines()) == len(files) - 2, "all but itself and the list of this program"


async def test_the_readme_names_the_newest_digest_and_its_program_verifies_a_report(
    settings: Settings, connection: Connection, directory: Path
) -> None:
    await copy.write(settings, directory)
    readme = (directory / "README.txt").read_text(encoding="utf-8")
    digest = await connection.fetchval("SELECT digest FROM report ORDER BY sequence DESC LIMIT 1")
    assert f"Digest:          {digest}" in readme
    assert "Newest revision: week 2017-02-11, revision 1" in readme
    program = readme[readme.index("python3 -c '") + 12 : readme.index("' v1/reports/WEEK.json")]
    for name in ("v1/reports/2017-01-28.json", "v1/reports/2017-02-04/revisions/1.json"):
        assert _output(directory, sys.executable, "-c", program, name) == b"True\n"


async def test_a_second_run_writes_nothing_and_another_directory_gets_the_same_bytes(
    settings: Settings, directory: Path
) -> None:
    first = await copy.write(settings, directory / "one")
    second = await copy.write(settings, directory / "one")
    assert (first.written, second.written, second.unchanged, second.removed) == (first.files, 0, first.files, 0)
    await copy.write(settings, directory / "two")
    assert tree(directory / "one") == tree(directory / "two")


async def test_a_new_revision_writes_what_it_touches_and_the_result_is_that_of_a_whole_run(
    settings: Settings, connection: Connection, directory: Path
) -> None:
    await copy.write(settings, directory / "copy")
    before = tree(directory / "copy")
    await publish(connection, _week(2), {}, {WASHOE: 3}, revision=2)
    done = await copy.write(settings, directory / "copy")
    after = tree(directory / "copy")
    changed = {name for name in after if before.get(name) != after[name]}
    assert done.written == len(changed - {".ddor-site"})
    assert {"v1/reports/2017-02-11.json", "v1/reports/2017-02-11/revisions/2.csv", "feed.atom", "index.html"} < changed
    assert not {name for name in changed if "2017-01-28" in name or "2017-02-04" in name}, "earlier weeks"
    assert "v1/reports/2017-02-11/revisions/1.json" not in changed, "a revision never changes"
    assert "jurisdictions/36059/index.html" in changed, "it names the newest revision of each week"
    await copy.write(settings, directory / "fresh")
    assert after == tree(directory / "fresh")


async def test_a_withdrawn_line_list_disappears_with_the_links_to_it(
    settings: Settings, connection: Connection, directory: Path
) -> None:
    await copy.write(settings, directory / "copy")
    week = directory / "copy/reports/2017-02-04/index.html"
    assert "line-list.json" in week.read_text(encoding="utf-8")
    withdrawn = (_week(1).first, _week(2).ends_at, "Ada", "a court")
    await connection.execute(SQL["withdraw_line_lists"], *withdrawn)
    done = await copy.write(settings, directory / "copy")
    assert done.removed == 1
    assert "line-list.json" not in week.read_text(encoding="utf-8")
    await copy.write(settings, directory / "fresh")
    assert tree(directory / "copy") == tree(directory / "fresh")


async def test_lists_of_older_weeks_are_followed(
    settings: Settings, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.publisher.site.weeks.WEEKS_LISTED", 1)
    await copy.write(settings, directory)
    assert b'href="../reports/before-2017-02-11/index.html"' in (directory / "reports/index.html").read_bytes()
    assert b"2017-01-28" in (directory / "reports/before-2017-02-04/index.html").read_bytes()


async def test_a_report_published_meanwhile_is_in_no_file(
    settings: Settings, connection: Connection, directory: Path
) -> None:
    tasks = []

    def progress(done: int, _: int) -> None:
        if done == 2:
            tasks.append(asyncio.create_task(publish(connection, _week(9), {CLARK: 1}, {})))

    await copy.write(settings, directory, progress)
    assert [task.done() for task in tasks] == [True], "published before the last file"
    assert not [name for name, body in tree(directory).items() if "2017-04-01" in name or b"2017-04-01" in body]
    await copy.write(settings, directory)
    assert "reports/2017-04-01/index.html" in tree(directory)


async def test_a_database_without_reports_has_a_site_too(store_settings: MakeSettings, directory: Path) -> None:
    await copy.write(store_settings(), directory)
    files = tree(directory)
    assert b"No week has been published yet." in files["index.html"]
    assert b"No report has been published yet." in files["README.txt"]
    assert "reports/latest/index.html" not in files


@contextmanager
def _started(settings: Settings, *arguments: str, limit: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """`ddor site` as a process of its own. `limit`: the greatest size of a file, in bytes."""

    def bounded() -> None:
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with subprocess.Popen(
        [sys.executable, "-m", "services.cli.main", "site", *arguments],
        env=commands.environment(settings) | {"NO_COLOR": "1"}, preexec_fn=bounded,  # noqa: PLW1509
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


async def _errors(process: subprocess.Popen[bytes]) -> bytes:
    """What it writes to stderr until its end."""
    return (await asyncio.to_thread(process.communicate))[1]


async def _has_files(where: Path) -> bool:
    return len([name for name in tree(where) if name.endswith(".json")]) >= 9


async def test_a_killed_run_is_completed(settings: Settings, connection: Connection, directory: Path) -> None:
    for number in range(3, 20):
        await publish(connection, _week(number), {CLARK: number}, {CLARK: 1})
    with _started(settings, str(directory / "copy")) as process:
        await until(lambda: _has_files(directory / "copy"), "a few files")
        process.kill()
        await _errors(process)
    assert process.returncode == -signal.SIGKILL
    assert not (directory / "copy/SHA256SUMS").exists(), "killed before its end"
    await copy.write(settings, directory / "copy")
    await copy.write(settings, directory / "fresh")
    assert tree(directory / "copy") == tree(directory / "fresh")


async def test_a_full_disk_is_reported_in_one_sentence(settings: Settings, directory: Path) -> None:
    with _started(settings, str(directory / "copy"), limit=10_000) as process:
        errors = await _errors(process)
    assert (process.returncode, b"File too large" in errors, b"Traceback" in errors) == (2, True, False), errors
    assert not (directory / "copy/.ddor-site.tmp").exists()
    assert (await copy.write(settings, directory / "copy")).removed == 0


async def test_a_session_that_ends_is_reported_in_one_sentence(
    settings: Settings, connection: Connection, directory: Path
) -> None:
    for number in range(3, 20):
        await publish(connection, _week(number), {CLARK: number}, {CLARK: 1})
    with _started(settings, str(directory)) as process:
        await until(lambda: _has_files(directory), "a few files")
        ended = await connection.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'ddor-site' AND datname = current_database()"
        )
        errors = await _errors(process)
    assert (ended, process.returncode, b"Traceback" in errors) == (1, 2, False), errors
    assert b"PostgreSQL has" in errors


async def test_the_command_reports_what_it_did_and_what_is_wrong(settings: Settings, directory: Path) -> None:
    done = await commands.ddor(settings, "site", str(directory / "new/copy"))
    assert (done.exit_code, done.err) == (0, "")
    assert f"{len(tree(directory / 'new/copy')) - 1} files" in done.out
    (directory / "mine").mkdir()
    (directory / "mine/index.html").write_text("mine")
    done = await commands.ddor(settings, "site", str(directory / "mine"))
    assert (done.exit_code, "add --force" in done.err) == (2, True), done.output
    done = await commands.ddor(settings, "site", str(directory / "mine/index.html"))
    assert (done.exit_code, "is a file" in done.err) == (2, True), done.output
    away = {"DDOR_POSTGRES_DSN": "postgresql://ddor@127.0.0.1:1/ddor"}
    done = await commands.ddor(settings, "site", str(directory / "copy"), **away)
    assert (done.exit_code, "cannot be reached" in done.err, "Traceback" in done.err) == (2, True, False), done.output
    assert not (directory / "copy").exists()
    done = await commands.ddor(settings, "site", str(directory / "copy"), DDOR_WEEK_STARTS_ON="SUNDAY")
    assert done.exit_code == 0, "no service has stored a calendar yet"
