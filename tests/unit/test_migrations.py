"""services.runtime.migrations: files have consecutive numbers, never change once applied, and match the database."""

from __future__ import annotations

import hashlib

import pytest

from services.runtime import migrations
from services.runtime.errors import ConfigurationError
from services.runtime.migrations import Migration, _missing
from tests.former import releases, stored


def migration(number: int) -> Migration:
    sql = f"SELECT {number}"
    return Migration(number, f"step_{number}", sql, hashlib.sha256(sql.encode()).hexdigest())


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> list[Migration]:
    known = [migration(number) for number in (1, 2, 3)]
    monkeypatch.setattr(migrations, "migrations", lambda: known)
    return known


def applied(*some: Migration) -> dict[int, str]:
    return {one.number: one.sha256 for one in some}


def test_files_are_numbered_from_one_without_a_gap() -> None:
    found = migrations.migrations()
    assert [one.number for one in found] == list(range(1, len(found) + 1))
    assert len({one.name for one in found}) == len(found)


def test_each_earlier_schema_has_recorded_data() -> None:
    """Otherwise: `python -m tests.former.record`."""
    newest = len(migrations.migrations())
    assert {*releases.SCHEMAS} | releases.NEVER_RUN == {*range(1, newest)}
    for schema in releases.SCHEMAS:
        assert stored.tables_file(schema).exists()
        assert stored.log_file(schema).exists()


def test_each_file_has_a_purpose_and_a_digest() -> None:
    for one in migrations.migrations():
        assert one.sql.startswith("--"), one.name
        assert one.sha256 == hashlib.sha256(one.sql.encode()).hexdigest()


def test_a_new_database_lacks_all(three: list[Migration]) -> None:
    assert _missing({}) == three


def test_an_applied_file_is_not_applied_again(three: list[Migration]) -> None:
    assert _missing(applied(three[0])) == three[1:]
    assert _missing(applied(*three)) == []


def test_missing_files_are_applied_in_order(three: list[Migration]) -> None:
    assert _missing(applied(three[1])) == [three[0], three[2]]


def test_an_applied_file_that_changed_stops_the_command(three: list[Migration]) -> None:
    with pytest.raises(ConfigurationError, match=r"0002_step_2\.sql was changed after it was applied"):
        _missing(applied(*three[:1]) | {2: "0" * 64})


def test_a_newer_database_is_refused(three: list[Migration]) -> None:
    with pytest.raises(ConfigurationError, match=r"migration 0007, which this release does not have"):
        _missing(applied(*three) | {7: "0" * 64})
