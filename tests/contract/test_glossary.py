"""docs/glossary.md and the code agree: each type and table in it exists, and belongs to one term."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"^\| (?P<term>[^|`]+) \| `(?P<code>[^|`]+)` \| (?P<meaning>[^|]+) \|$")
_LINES = (_ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").partition("|---|---|---|\n")[2].splitlines()
_ROWS = [match.groupdict() for line in _LINES if (match := _ROW.match(line))]
_SQL = "\n".join(path.read_text(encoding="utf-8") for path in sorted((_ROOT / "deploy" / "migrations").glob("*.sql")))


def _member(owner: Any, name: str) -> bool:
    """Whether a module, class or model has the member; the fields of dataclasses and models count."""
    return hasattr(owner, name) or name in getattr(owner, "model_fields", ()) or name in _annotations(owner)


def _annotations(owner: Any) -> set[str]:
    return {name for one in getattr(owner, "__mro__", ()) for name in getattr(one, "__annotations__", {})}


def _columns(table: str) -> str | None:
    """The statement that creates a table or view; None if there is none."""
    found = re.search(rf"^CREATE (?:TABLE|VIEW) {table}\b.*?;$", _SQL, re.MULTILINE | re.DOTALL)
    return found and found[0]


def test_every_line_is_a_row_of_three_cells() -> None:
    assert len(_ROWS) == len(_LINES) > 40


def test_the_terms_are_in_alphabetical_order() -> None:
    terms = [row["term"] for row in _ROWS]
    assert terms == sorted(terms)


@pytest.mark.parametrize("cell", ["term", "code"])
def test_a_term_has_one_type_and_a_type_one_term(cell: str) -> None:
    assert not [value for value, n in Counter(row[cell] for row in _ROWS).items() if n > 1]


@pytest.mark.parametrize(
    "row", [row for row in _ROWS if row["code"].startswith(("schemas.", "services."))], ids=lambda row: row["term"]
)
def test_a_type_exists(row: dict[str, str]) -> None:
    module, _, path = row["code"].partition(":")
    owner: Any = importlib.import_module(module)
    *owners, last = path.split(".") if path else [""]
    for name in owners:
        owner = getattr(owner, name)
    assert not last or _member(owner, last), f"{row['term']}: {module} has no {path}"


@pytest.mark.parametrize(
    "row", [row for row in _ROWS if not row["code"].startswith(("schemas.", "services."))], ids=lambda row: row["term"]
)
def test_a_table_or_column_exists(row: dict[str, str]) -> None:
    table, _, column = row["code"].partition(".")
    statement = _columns(table)
    assert statement is not None, f"{row['term']}: no migration creates {table}"
    assert not column or re.search(rf"\b{column}\b", statement), f"{row['term']}: {table} has no column {column}"
