"""`ddor migrate --plan` prints what would happen, and changes nothing."""

from __future__ import annotations

import asyncpg
from pydantic import SecretStr

from services.runtime import migrations, roles
from services.runtime.settings import Settings
from tests.support.commands import Done, ddor
from tests.support.positions import Connection
from tests.support.schema_versions import NEWEST, applied, at_version

_REPORT = (
    "INSERT INTO report (week, revision, cause, digest, figures_digest, figures, published_at, sequence)"
    " SELECT '2017-01-28'::date + 7 * n, 1, 'initial', '', '', '{}', now(), n FROM generate_series(1, 520) AS n"
)


async def _plan(dsn: str) -> Done:
    return await ddor(Settings(postgres_dsn=SecretStr(dsn)), "migrate", "--plan")


async def test_the_plan_of_an_empty_database_has_all_migrations_and_makes_no_schema(empty_database: str) -> None:
    done = await _plan(empty_database)
    names = [line.partition(":")[0] for line in done.out.splitlines() if not line.startswith(" ")]
    assert (done.exit_code, names) == (1, [one.stem for one in migrations.migrations()]), done.output
    connection = await asyncpg.connect(empty_database)
    try:
        assert await connection.fetchval("SELECT to_regnamespace('ddor')") is None
    finally:
        await connection.close()


async def test_the_plan_names_locks_and_rows_of_each_table_and_applies_nothing(empty_database: str) -> None:
    async with at_version(empty_database, 7) as connection:
        await connection.execute(_REPORT)
        await connection.execute("ANALYZE report")
        before = await _state(connection)
        done = await _plan(empty_database)
        assert done.exit_code == 1
        assert done.out.splitlines()[:4] == [
            "0008_published_figures: totals as columns of report, and table published_figure",
            "  report: ACCESS EXCLUSIVE, all sessions wait; rewrites 520 rows",
            "0009_report_messages: an index of outbox for streams of announcements",
            "  outbox: SHARE, writers wait; reads all rows",
        ]
        assert await _state(connection) == before


async def _state(connection: Connection) -> tuple[list[int], list[tuple[object, ...]]]:
    tables = await connection.fetch(
        "SELECT relname, relkind, pg_relation_filenode(oid), relacl::text FROM pg_class"
        " WHERE relnamespace = 'ddor'::regnamespace ORDER BY relname"
    )
    return await applied(connection), [tuple(row) for row in tables]


async def test_without_anything_to_do_the_exit_code_is_0(database: str) -> None:
    done = await _plan(database)
    assert (done.exit_code, done.output) == (0, "nothing to apply: the schema is up to date\n")


async def test_a_changed_file_and_a_newer_database_are_refused(database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        await connection.execute("INSERT INTO ddor.migration (number, name, sha256) VALUES (9999, 'later', 'x')")
    finally:
        await connection.close()
    done = await _plan(database)
    assert (done.exit_code, done.out) == (2, "")
    assert "the database has migration 9999, which this release does not have" in done.err


async def test_a_migrator_may_read_the_plan(empty_database: str) -> None:
    async with at_version(empty_database, NEWEST - 1) as connection:
        await roles.install(connection)
        user, password = "plan_reader", "unsaid"
        await connection.execute(
            f"DROP ROLE IF EXISTS {user}; CREATE USER {user} PASSWORD '{password}'; GRANT ddor_migrator TO {user}"
        )
        own = f"//{user}:{password}@{empty_database.rpartition('@')[2]}"
        done = await _plan(f"postgresql:{own}")
        await connection.execute(f"DROP ROLE {user}")
    assert done.exit_code == 1, done.output
    assert done.out.startswith(f"{NEWEST:04}_")
