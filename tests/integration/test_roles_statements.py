"""Each role may run each statement of its service. PostgreSQL also checks the rights of an explained statement."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from services.aggregator.queries import SQL as AGGREGATOR
from services.cli.queries import SQL as OPERATOR
from services.publisher.desk.queries import SQL as DESK
from services.publisher.queries import SQL as PUBLISHER
from services.publisher.site.queries import SQL as SITE
from services.publisher.static_site.queries import SQL as STATIC_SITE
from services.runtime import roles
from tests.support.database_roles import user
from tests.support.positions import Connection

_RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
_OF_COMMANDS = {"release", "withdraw_line_lists", "add_action"}
"""The statements in the publisher's file that only commands run."""
_OF_SCRATCH = {"own_all", "resume_all"}
"""The statements that `ddor verify` runs in a schema of its own."""
_OF_VERIFY = ("report", "inputs", "line_lists", "was_recovered", "digest_before", "tip")


@pytest.fixture(scope="module")
async def dsn(module_database: str) -> str:
    """A database with roles."""
    connection = await asyncpg.connect(module_database)
    try:
        await roles.install(connection)
        await roles.grant(connection)
    finally:
        await connection.close()
    return module_database


@asynccontextmanager
async def _connected(dsn: str, role: str) -> AsyncIterator[Connection]:
    async with user(dsn, role) as own:
        connection = await asyncpg.connect(own, server_settings={"search_path": "ddor"})
        try:
            yield connection
        finally:
            connection.terminate()


async def _refused(connection: Connection, statements: dict[str, str]) -> set[str]:
    """The names of the statements that the user may not run."""
    names = set()
    for name, statement in statements.items():
        try:
            await connection.execute(f"EXPLAIN (GENERIC_PLAN) {statement}")
        except asyncpg.InsufficientPrivilegeError:
            names.add(name)
    return names


def _without(statements: object, names: Collection[str]) -> dict[str, str]:
    assert hasattr(statements, "items")
    return {name: text for name, text in statements.items() if name not in names}


async def test_the_aggregator_may_run_its_statements(dsn: str) -> None:
    async with _connected(dsn, "ddor_aggregator") as connection:
        await connection.execute(AGGREGATOR["create_staging"])
        assert await _refused(connection, _without(AGGREGATOR, ["create_staging"])) == set()
        assert await _refused(connection, dict(PUBLISHER)) > {"add_report", "set_state", "mark_sent", "restatements"}


async def test_the_publisher_may_run_its_statements_and_not_those_of_operators(dsn: str) -> None:
    async with _connected(dsn, "ddor_publisher") as connection:
        assert await _refused(connection, dict(PUBLISHER)) == _OF_COMMANDS
        for statements in (DESK, SITE):
            assert await _refused(connection, dict(statements)) == set()
        assert await _refused(connection, dict(OPERATOR)) > {"resume", "replace_log", "move_offsets", "reject"}


async def test_the_reader_may_run_the_statements_of_pages_and_no_others(dsn: str) -> None:
    async with _connected(dsn, "ddor_reader") as connection:
        for statements in (SITE, STATIC_SITE):
            assert await _refused(connection, dict(statements)) == set()
        assert await _refused(connection, dict(PUBLISHER)) > {"counters", "positions", "line_lists", "versions"}
        assert await _refused(connection, dict(DESK)) > {"partitions", "weeks", "actions", "rejects"}


async def test_an_operator_may_run_the_statements_of_commands(dsn: str) -> None:
    async with _connected(dsn, "ddor_operator") as connection:
        assert await _refused(connection, _without(OPERATOR, _OF_SCRATCH)) == set()
        for statements in (DESK, SITE, STATIC_SITE):
            assert await _refused(connection, dict(statements)) == set()
        named = {*_OF_COMMANDS, *_OF_VERIFY, "request_close", "request_restatement", "restatement_outcome", "closes"}
        assert await _refused(connection, {name: PUBLISHER[name] for name in named}) == set()
        assert await _refused(connection, {"purge": AGGREGATOR["purge"]}) == set()
        assert await _refused(connection, dict(PUBLISHER)) > {"add_report", "set_state", "prune_outbox", "declines"}


async def test_an_operator_may_run_the_queries_of_the_runbooks(dsn: str) -> None:
    found: dict[str, str] = {}
    for page in sorted(_RUNBOOKS.glob("*.md")):
        queries = re.findall(r'psql -U ddor -c "(SELECT[^"]*)"', page.read_text(encoding="utf-8"))
        found |= {f"{page.name} {number}": query for number, query in enumerate(queries)}
    assert len(found) > 10
    async with _connected(dsn, "ddor_operator") as connection:
        assert await _refused(connection, found) == set()
