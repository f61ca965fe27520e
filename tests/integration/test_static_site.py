"""`ddor site` over a real database: complete, the same bytes, incremental, and after failures."""

from __future__ import annotations

import asyncio
import functools
import http.server
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit
from xml.etree import ElementTree as ET

import httpx
import pytest
from starlette.applications import Starlette

from services.publisher.queries import SQL
from services.publisher.site.about import About
from services.publisher.site.routes import Site
from services.publisher.static_site import copy
from services.runtime import postgres
from services.runtime.clock import system
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import commands
from tests.support.positions import Connection
from tests.support.published import CLARK, WASHOE, publish, three_weeks, week
from tests.unit.sample_site import tree

LIST = "v1/reports/2017-02-04/revisions/1/line-list.json"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An empty directory: `tmp_path` has files of other fixtures."""
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


@pytest.fixture
async def settings(store_settings: MakeSettings, connection: Connection) -> Settings:
    """A database with three weeks, see `three_weeks`."""
    await three_weeks(connection)
    return store_settings(first_week=week(0).first)


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
    site = Site(lambda: postgres.pool(settings, "ddor-test"), About.of(settings), system)
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
    await publish(connection, week(2), {}, {WASHOE: 3}, revision=2)
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
    page = directory / "copy/reports/2017-02-04/index.html"
    assert "line-list.json" in page.read_text(encoding="utf-8")
    withdrawn = (week(1).first, week(2).ends_at, "Ada", "a court")
    await connection.execute(SQL["withdraw_line_lists"], *withdrawn)
    done = await copy.write(settings, directory / "copy")
    assert done.removed == 1
    assert "line-list.json" not in page.read_text(encoding="utf-8")
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
            tasks.append(asyncio.create_task(publish(connection, week(9), {CLARK: 1}, {})))

    await copy.write(settings, directory, progress)
    assert [task.done() for task in tasks] == [True], "published before the last file"
    digest = (await connection.fetchval("SELECT digest FROM report ORDER BY sequence DESC LIMIT 1")).encode()
    assert not [name for name, body in tree(directory).items() if "reports/2017-04-01" in name or digest in body]
    await copy.write(settings, directory)
    assert digest in tree(directory)["reports/2017-04-01/index.html"]


async def test_a_database_without_reports_has_a_site_too(store_settings: MakeSettings, directory: Path) -> None:
    await copy.write(store_settings(first_week=week(0).first), directory)
    files = tree(directory)
    assert b"No week has been published yet." in files["index.html"]
    assert b"No report has been published yet." in files["README.txt"]
    assert "reports/latest/index.html" not in files
