"""services.runtime.queries: named statements."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from services.runtime import queries


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "package_with_statements"
    directory.mkdir()
    (directory / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, directory.name, raising=False)
    return directory


def test_statements_are_named_and_keep_their_comments(package: Path) -> None:
    (package / "queries.sql").write_text("-- all\n\n-- name: one\n-- why\nSELECT 1;\n\n-- name: two\nSELECT\n  2\n")
    found = queries.load(package.name)
    assert dict(found) == {"one": "-- why\nSELECT 1", "two": "SELECT\n  2"}


def test_a_duplicate_name_is_refused(package: Path) -> None:
    (package / "more.sql").write_text("-- name: one\nSELECT 1\n-- name: one\nSELECT 2\n")
    with pytest.raises(ValueError, match=r"more\.sql of package_with_statements names a statement twice"):
        queries.load(package.name, "more.sql")


def test_statements_cannot_be_changed(package: Path) -> None:
    (package / "queries.sql").write_text("-- name: one\nSELECT 1\n")
    with pytest.raises(TypeError):
        queries.load(package.name)["one"] = "DROP"  # type: ignore[index]


@pytest.mark.parametrize(
    ("package_name", "file"),
    [
        ("services.aggregator", "queries.sql"),
        ("services.publisher", "queries.sql"),
        ("services.publisher.desk", "queries.sql"),
    ],
)
def test_the_statements_of_the_services_load(package_name: str, file: str) -> None:
    assert all(queries.load(package_name, file).values())
