"""`ddor site` when it is killed, when the disk is full, when PostgreSQL is away, and with a wrong directory."""

from __future__ import annotations

import asyncio
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.publisher.static_site import copy
from services.runtime import calendar
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import commands
from tests.support.positions import Connection
from tests.support.published import CLARK, publish, three_weeks, week
from tests.support.waiting import until
from tests.unit.sample_reports import CALENDAR
from tests.unit.sample_site import tree


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
    return len(_json_files(where)) >= 9


def _json_files(where: Path) -> list[Path]:
    return list(where.rglob("*.json"))


async def test_a_killed_run_is_completed(settings: Settings, connection: Connection, directory: Path) -> None:
    for number in range(3, 60):
        await publish(connection, week(number), {CLARK: 1}, {CLARK: 1})
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
    for number in range(3, 60):
        await publish(connection, week(number), {CLARK: 1}, {CLARK: 1})
    with _started(settings, str(directory)) as process:
        await until(lambda: _has_files(directory), "a few files")
        ended = await connection.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'ddor-site' AND datname = current_database()"
        )
        errors = await _errors(process)
    assert (ended, process.returncode, b"Traceback" in errors) == (1, 2, False), errors
    assert b"PostgreSQL has" in errors


async def test_the_command_reports_what_it_did_and_what_is_wrong(
    settings: Settings, connection: Connection, directory: Path
) -> None:
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
    await calendar.keep(connection, CALENDAR)
    done = await commands.ddor(settings, "site", str(directory / "copy"), DDOR_WEEK_STARTS_ON="SUNDAY")
    assert (done.exit_code, "set DDOR_ZONE" in done.err) == (2, True), done.output
