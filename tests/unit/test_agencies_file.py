"""services.runtime.agencies: a changed file is read again, and an invalid one is ignored."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import structlog.testing

from services.ingest.body.media_types import LINES
from services.runtime.agencies import AgenciesFile
from tests.support.processes import post
from tests.unit import sample_endpoint
from tests.unit.sample_endpoint import Producer, Time
from tests.unit.sample_events import encoded, event
from tests.unit.test_agencies import BEYOND_ARITHMETIC, table

GOOD = encoded(event())


class Clock:
    """A monotonic clock that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def names(file: AgenciesFile) -> list[str]:
    known = file.current()
    assert known is not None
    return [one.name for one in known.listed]


def rewrite(path: Path, text: str, at: int) -> None:
    path.write_text(text)
    os.utime(path, ns=(at, at))


def test_the_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path, clock = tmp_path / "agencies.toml", Clock()
    rewrite(path, table("vegas"), 1)
    file = AgenciesFile(path, clock)
    assert names(file) == ["vegas"]
    rewrite(path, table("paris"), 2)
    assert names(file) == ["vegas"], "checked less than a second ago"
    clock.now += 1
    assert names(file) == ["paris"]
    assert file.problem is None


def test_the_last_valid_content_applies_while_the_file_is_invalid(tmp_path: Path) -> None:
    path, clock = tmp_path / "agencies.toml", Clock()
    rewrite(path, table("vegas"), 1)
    file = AgenciesFile(path, clock)
    assert names(file) == ["vegas"]
    worse = [table("reno", more=line) for line in BEYOND_ARITHMETIC]
    for number, text in enumerate(("[[", "agency = 5", "", "# none\n", *worse, None), start=2):
        path.unlink() if text is None else rewrite(path, text, number)
        clock.now += 1
        assert names(file) == ["vegas"]
        assert file.problem is not None
    rewrite(path, table("reno"), 99)
    clock.now += 1
    assert names(file) == ["reno"]
    assert file.problem is None


async def test_keys_remain_valid_while_the_file_is_empty(tmp_path: Path, producer: Producer) -> None:
    """A save that is not atomic empties the file first. 401 would be final for a client."""
    time = Time()
    endpoint = sample_endpoint.endpoint(tmp_path, producer, time)
    path = tmp_path / "agencies.toml"
    async with sample_endpoint.connected(endpoint) as client:
        assert (await post(client, GOOD)).status_code == 202
        rewrite(path, "", 2)
        time.now += timedelta(seconds=1)
        assert (await post(client, GOOD)).status_code == 202


async def test_after_an_invalid_edit_the_endpoint_uses_the_last_valid_content(
    tmp_path: Path, producer: Producer
) -> None:
    time = Time()
    endpoint = sample_endpoint.endpoint(tmp_path, producer, time)
    path = tmp_path / "agencies.toml"
    valid = path.read_text()
    async with sample_endpoint.connected(endpoint) as client:
        for number, line in enumerate(BEYOND_ARITHMETIC, start=2):
            assert (await post(client, GOOD)).status_code == 202
            rewrite(path, valid + table("new", "US", more=line), number)
            time.now += timedelta(seconds=1)
            assert (await post(client, GOOD)).status_code == 202, line
            assert (await post(client, GOOD + b"\n", LINES)).status_code == 207


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    path, clock = tmp_path / "agencies.toml", Clock()
    rewrite(path, table("vegas"), 1)
    file = AgenciesFile(path, clock)
    before = file.current()
    clock.now += 1
    assert file.current() is before


def test_an_invalid_file_remains_a_problem_on_each_check(tmp_path: Path) -> None:
    path, clock = tmp_path / "agencies.toml", Clock()
    rewrite(path, table("vegas"), 1)
    file = AgenciesFile(path, clock)
    file.current()
    rewrite(path, "[[", 2)
    for _ in range(3):
        clock.now += 1
        file.current()
        assert file.problem is not None


def test_without_a_file_no_key_is_valid(tmp_path: Path) -> None:
    file = AgenciesFile(tmp_path / "missing.toml", Clock())
    assert file.problem is not None
    assert file.current() is None
    assert "missing.toml" in (file.problem or "")


def test_an_invalid_edit_is_logged_once_with_the_setting_and_the_rule(tmp_path: Path) -> None:
    path, clock = tmp_path / "agencies.toml", Clock()
    rewrite(path, table("vegas"), 1)
    file = AgenciesFile(path, clock)
    file.current()
    with structlog.testing.capture_logs() as logged:
        for number, text in enumerate(("agency = 5", "agency = 5", "[["), start=2):
            rewrite(path, text, number)
            for _ in range(3):
                clock.now += 1
                file.current()
    wrong = f"DDOR_AGENCIES_FILE: {path}: agencies file: write [[agency]], once for each agency"
    assert [one["event"] for one in logged] == ["agencies-file-refused"] * 2
    assert logged[0]["reason"] == wrong
    assert file.problem == logged[1]["reason"]
