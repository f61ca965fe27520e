"""services.runtime.agencies: the file is read again when it changes, and a bad edit changes nothing."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from services.ingest.framing import LINES
from services.runtime.agencies import AgenciesFile
from tests.support.processes import post
from tests.unit import sample_door
from tests.unit.sample_door import Producer, Time
from tests.unit.sample_events import encoded, event
from tests.unit.test_agencies import BEYOND_ARITHMETIC, table

GOOD = encoded(event())


class Clock:
    """Seconds, as the test says."""

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
    assert names(file) == ["vegas"], "looked at less than a second ago"
    clock.now += 1
    assert names(file) == ["paris"]
    assert file.problem is None


def test_the_last_valid_content_stays_while_the_file_is_bad(tmp_path: Path) -> None:
    path, clock = tmp_path / "agencies.toml", Clock()
    rewrite(path, table("vegas"), 1)
    file = AgenciesFile(path, clock)
    assert names(file) == ["vegas"]
    worse = [table("reno", more=line) for line in BEYOND_ARITHMETIC]
    for number, text in enumerate(("[[", "agency = 5", *worse, None), start=2):
        path.unlink() if text is None else rewrite(path, text, number)
        clock.now += 1
        assert names(file) == ["vegas"]
        assert file.problem is not None
    rewrite(path, table("reno"), 99)
    clock.now += 1
    assert names(file) == ["reno"]
    assert file.problem is None


async def test_with_a_bad_edit_the_door_goes_on_with_the_last_valid_content(tmp_path: Path, producer: Producer) -> None:
    time = Time()
    door = sample_door.door(tmp_path, producer, time)
    path = tmp_path / "agencies.toml"
    valid = path.read_text()
    async with sample_door.connected(door) as client:
        for number, line in enumerate(BEYOND_ARITHMETIC, start=2):
            assert (await post(client, GOOD)).status_code == 202
            rewrite(path, valid + table("new", "US", more=line), number)
            time.now += timedelta(seconds=1)
            assert (await post(client, GOOD)).status_code == 202, line
            assert (await post(client, GOOD + b"\n", LINES)).status_code == 207


def test_a_file_that_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    path, clock = tmp_path / "agencies.toml", Clock()
    rewrite(path, table("vegas"), 1)
    file = AgenciesFile(path, clock)
    before = file.current()
    clock.now += 1
    assert file.current() is before


def test_a_bad_file_stays_a_problem_however_often_it_is_looked_at(tmp_path: Path) -> None:
    path, clock = tmp_path / "agencies.toml", Clock()
    rewrite(path, table("vegas"), 1)
    file = AgenciesFile(path, clock)
    file.current()
    rewrite(path, "[[", 2)
    for _ in range(3):
        clock.now += 1
        file.current()
        assert file.problem is not None


def test_without_a_file_nobody_is_known(tmp_path: Path) -> None:
    file = AgenciesFile(tmp_path / "missing.toml", Clock())
    assert file.problem is not None
    assert file.current() is None
    assert "missing.toml" in (file.problem or "")
