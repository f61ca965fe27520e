"""The rights of the roles are exactly those in docs/security.md. Each other statement is refused."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from services.runtime import roles
from tests.support.database_roles import ROLES, user
from tests.support.positions import Connection

_PAGE = Path(__file__).parents[2] / "docs" / "security.md"
_BY_COLUMN = ("SELECT", "INSERT", "UPDATE")
_BY_TABLE = ("DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
_PROTECTED = (
    "report",
    "published_figure",
    "input",
    "week_transition",
    "operator_action",
    "audit",
    "migration",
)


class Right(NamedTuple):
    """A privilege on a column, or on a whole table if `column` is empty."""

    table: str
    privilege: str
    column: str = ""


@pytest.fixture(scope="module")
async def installed(module_database: str) -> AsyncIterator[Connection]:
    """A superuser's connection to a database with roles."""
    connection = await asyncpg.connect(module_database)
    try:
        await roles.install(connection)
        await roles.grant(connection)
        yield connection
    finally:
        connection.terminate()


async def _columns(connection: Connection) -> dict[str, list[str]]:
    rows = await connection.fetch(
        "SELECT relname, array_agg(attname::text ORDER BY attnum) AS columns FROM pg_class"
        " JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped"
        " WHERE relnamespace = 'ddor'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') GROUP BY relname"
    )
    return {row["relname"]: row["columns"] for row in rows}


def _documented(role: str, columns: Mapping[str, list[str]]) -> set[Right]:
    """The rights of a role in docs/security.md. AssertionError for an unknown table or column."""
    _, found, section = _PAGE.read_text(encoding="utf-8").partition(f"\n### {role}\n")
    if not found:
        return set()
    rights = set()
    lines = re.findall(r"^\| `(\w+)` \| (.*) \|$", section.partition("\n### ")[0], re.MULTILINE)
    assert lines
    for table, cells in lines:
        *by_column, delete = (cell.strip() for cell in f"{cells} ".split("|"))
        for privilege, cell in zip(_BY_COLUMN, by_column, strict=True):
            named = columns[table] if cell == "all" else [one.strip() for one in cell.split(",") if one.strip()]
            assert set(named) <= set(columns[table]), (table, privilege)
            rights |= {Right(table, privilege, column) for column in named}
        assert delete in ("", "yes"), (table, delete)
        rights |= {Right(table, "DELETE")} if delete else set()
    return rights


def _all(columns: Mapping[str, list[str]]) -> Iterator[Right]:
    for table, names in columns.items():
        for privilege in _BY_COLUMN:
            yield from (Right(table, privilege, column) for column in names)
        yield from (Right(table, privilege) for privilege in _BY_TABLE)


async def _granted(connection: Connection, role: str, rights: list[Right]) -> set[Right]:
    rows = await connection.fetch(
        "SELECT CASE WHEN c = '' THEN has_table_privilege($1, 'ddor.' || quote_ident(t), p)"
        " ELSE has_column_privilege($1, 'ddor.' || quote_ident(t), c, p) END AS has, t, p, c"
        " FROM unnest($2::text[], $3::text[], $4::text[]) AS wanted (t, p, c)",
        role,
        *map(list, zip(*rights, strict=True)),
    )
    return {Right(row["t"], row["p"], row["c"]) for row in rows if row["has"]}


@pytest.mark.parametrize("role", [*ROLES, "public"])
async def test_a_role_has_exactly_the_documented_rights(installed: Connection, role: str) -> None:
    columns = await _columns(installed)
    granted = await _granted(installed, role, list(_all(columns)))
    expected = _documented(role, columns)
    assert (sorted(expected - granted), sorted(granted - expected)) == ([], [])
    assert bool(expected) == (role not in ("ddor_migrator", "public"))


async def test_no_role_can_change_published_rows(installed: Connection) -> None:
    columns = await _columns(installed)
    for role in ROLES:
        for right in await _granted(installed, role, list(_all(columns))):
            assert right.table not in _PROTECTED or right.privilege in ("SELECT", "INSERT"), (role, right)


def _statement(right: Right) -> str:
    table, column = f'ddor."{right.table}"', f'"{right.column}"'
    return {
        "SELECT": f"SELECT {column} FROM {table} LIMIT 0",
        "INSERT": f"INSERT INTO {table} ({column}) VALUES (DEFAULT)",
        "UPDATE": f"UPDATE {table} SET {column} = DEFAULT WHERE false",
        "DELETE": f"DELETE FROM {table} WHERE false",
        "TRUNCATE": f"TRUNCATE {table}",
        "TRIGGER": f"CREATE TRIGGER planted BEFORE DELETE ON {table} EXECUTE FUNCTION tsvector_update_trigger()",
        "MAINTAIN": f"REINDEX TABLE {table}",
    }[right.privilege]


_NOT_OF_VIEWS = (asyncpg.ObjectNotInPrerequisiteStateError, asyncpg.WrongObjectTypeError)
"""A view cannot be changed at all; this is checked before the rights."""
_OF_THE_OWNER = (
    "DROP TABLE ddor.report",
    "ALTER TABLE ddor.report ADD planted integer",
    "ALTER TABLE ddor.report DISABLE TRIGGER ALL",
    "DROP SCHEMA ddor CASCADE",
    "CREATE TABLE ddor.planted (n integer)",
    "DROP FUNCTION ddor.offsets_now",
    "GRANT SELECT ON ddor.migration TO PUBLIC",
    "CREATE ROLE planted_by_a_test",
    "COPY ddor.report TO PROGRAM 'true'",
    "SET session_replication_role = replica",
)


@pytest.mark.parametrize("role", ROLES)
async def test_each_forbidden_statement_is_refused_and_each_other_is_not(
    installed: Connection, module_database: str, role: str
) -> None:
    columns = await _columns(installed)
    allowed = _documented(role, columns)
    async with user(module_database, role) as dsn:
        connection = await asyncpg.connect(dsn)
        try:
            for right in _all(columns):
                if right.privilege == "REFERENCES":
                    continue  # needs a table of the role's own; `has_table_privilege` above is enough
                refused = await _is_refused(connection, _statement(right))
                assert refused == (right not in allowed), right
            for statement in _OF_THE_OWNER:
                assert await _is_refused(connection, statement), statement
        finally:
            connection.terminate()


async def _is_refused(connection: Connection, statement: str) -> bool:
    """Whether the statement fails for lack of a right. It is rolled back."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(statement)
    except (asyncpg.InsufficientPrivilegeError, *_NOT_OF_VIEWS):
        return True
    except (asyncpg.NotNullViolationError, asyncpg.CheckViolationError):
        return False  # checked after the rights
    finally:
        await transaction.rollback()
    return False
