"""Installing the roles: at once in several databases, with few rights, and without stopping a set-up with one user."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack

import asyncpg
import pytest
from pydantic import SecretStr

from deploy.local.parts import PostgresPart
from deploy.local.ports import free_port
from services.publisher import app as publisher
from services.runtime import migrations, roles
from services.runtime.settings import Settings
from tests.conftest import MakeSettings, NewPostgres
from tests.support.commands import Done, ddor
from tests.support.database_roles import name_of, user
from tests.support.in_process import running
from tests.support.local_parts import migrated, new_database
from tests.support.positions import Connection
from tests.support.waiting import until

_OWNERS = (
    "SELECT DISTINCT pg_get_userbyid(owner) FROM (SELECT nspowner FROM pg_namespace WHERE nspname = 'ddor'"
    " UNION ALL SELECT relowner FROM pg_class WHERE relnamespace = 'ddor'::regnamespace"
    " UNION ALL SELECT proowner FROM pg_proc WHERE pronamespace = 'ddor'::regnamespace"
    " UNION ALL SELECT typowner FROM pg_type WHERE typnamespace = 'ddor'::regnamespace) AS o (owner)"
)


@pytest.fixture(scope="module")
def server(new_postgres: NewPostgres, postgres: PostgresPart) -> Iterator[PostgresPart]:
    """A server without the roles, unless it is an external one."""
    if postgres.source == "settings":
        yield postgres
        return
    with new_postgres() as part:
        yield part


@pytest.fixture
def databases(server: PostgresPart) -> Iterator[list[str]]:
    """Four empty databases of one server."""
    with ExitStack() as stack:
        yield [stack.enter_context(new_database(server)) for _ in range(4)]


@pytest.fixture
async def administrator(empty_database: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(empty_database)
    try:
        yield connection
    finally:
        connection.terminate()


def _settings(make: MakeSettings, dsn: str) -> Settings:
    return make(postgres_dsn=SecretStr(dsn))


async def _command(make: MakeSettings, dsn: str, *arguments: str) -> Done:
    return await ddor(_settings(make, dsn), *arguments)


async def _owner_of_all(connection: Connection, dsn: str) -> None:
    """Make the user of the DSN the owner of the database, as in a set-up with one user."""
    database = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {database} OWNER TO {name_of(dsn)}")


async def test_roles_are_installed_at_once_in_several_databases_and_again(databases: list[str]) -> None:
    async with AsyncExitStack() as stack:
        connections = []
        for dsn in databases:
            connections.append(await asyncpg.connect(await migrated(dsn)))
            stack.callback(connections[-1].terminate)
        for _ in range(3):
            await asyncio.gather(*map(roles.install, connections))
            await asyncio.gather(*map(roles.grant, connections))
        for connection in connections:
            assert [row[0] for row in await connection.fetch(_OWNERS)] == [roles.OWNER]
            assert await connection.fetchval("SELECT has_table_privilege('ddor_reader', 'ddor.report', 'SELECT')")


async def test_a_set_up_with_one_user_continues_after_the_roles_are_installed(
    empty_database: str, administrator: Connection, store_settings: MakeSettings
) -> None:
    async with user(empty_database) as dsn:
        await _owner_of_all(administrator, dsn)
        assert (await _command(store_settings, dsn, "migrate")).exit_code == 0
        refused = await _command(store_settings, dsn, "roles", "apply")
        assert (refused.exit_code, "ddor roles apply --print" in refused.err) == (2, True), refused.output
        assert "Traceback" not in refused.output
        assert [row[0] for row in await administrator.fetch(_OWNERS)] == [name_of(dsn)], "nothing has changed"

        await administrator.execute((await _command(store_settings, dsn, "roles", "apply", "--print")).out)
        assert [row[0] for row in await administrator.fetch(_OWNERS)] == [roles.OWNER]
        again = await _command(store_settings, dsn, "migrate")
        assert (again.exit_code, "nothing to apply" in again.out) == (0, True), again.output
        assert await administrator.fetchval("SELECT has_table_privilege('ddor_reader', 'ddor.report', 'SELECT')")
        single = await asyncpg.connect(dsn, server_settings={"search_path": "ddor"})
        try:
            await single.execute("CREATE TEMP TABLE staging (n integer); DELETE FROM report; CREATE SCHEMA own")
        finally:
            single.terminate()


async def test_a_user_who_may_create_roles_and_owns_the_database_installs_them(
    server: PostgresPart, store_settings: MakeSettings
) -> None:
    """On a server of its own: who may create roles may not use those that another user has created."""
    if server.source == "settings":
        pytest.skip("the external server may have the roles already")
    with new_database(server) as empty:
        administrator = await asyncpg.connect(empty)
        try:
            await administrator.execute("".join(f"DROP ROLE IF EXISTS {name};" for name in _NAMES))
            async with user(empty, attributes="CREATEROLE") as dsn:
                await _owner_of_all(administrator, dsn)
                early = await _command(store_settings, dsn, "roles", "apply")
                assert (early.exit_code, "ddor migrate" in early.out) == (0, True), early.output
                assert (await _command(store_settings, dsn, "migrate")).exit_code == 0
                done = await _command(store_settings, dsn, "roles", "apply")
                assert (done.exit_code, "have their rights" in done.out) == (0, True), done.output
                assert [row[0] for row in await administrator.fetch(_OWNERS)] == [roles.OWNER]
        finally:
            administrator.terminate()


_NAMES = ("ddor_owner", "ddor_migrator", "ddor_aggregator", "ddor_publisher", "ddor_reader", "ddor_operator")


async def test_a_migrator_applies_migrations_owns_nothing_and_renews_the_rights(
    empty_database: str, administrator: Connection, store_settings: MakeSettings
) -> None:
    await roles.install(administrator)
    async with user(empty_database, "ddor_migrator") as dsn:
        done = await _command(store_settings, dsn, "migrate")
        assert (done.exit_code, done.out.count("applied")) == (0, len(migrations.migrations())), done.output
        assert [row[0] for row in await administrator.fetch(_OWNERS)] == [roles.OWNER]
        await administrator.execute(
            "GRANT DELETE ON ddor.report TO ddor_operator, PUBLIC; REVOKE ALL ON ddor.report FROM ddor_reader"
        )
        assert (await _command(store_settings, dsn, "migrate")).exit_code == 0
        has = "SELECT has_table_privilege($1, 'ddor.report', $2)"
        assert await administrator.fetchval(has, "ddor_reader", "SELECT")
        assert not await administrator.fetchval(has, "ddor_operator", "DELETE")
        plain = await asyncpg.connect(dsn)
        try:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await plain.execute("SELECT 1 FROM ddor.report")
        finally:
            plain.terminate()


async def test_a_user_without_the_role_is_refused_in_one_sentence(database: str, store_settings: MakeSettings) -> None:
    async with user(database) as dsn:
        for arguments in (("migrate",), ("roles", "apply")):
            done = await _command(store_settings, dsn, *arguments)
            assert (done.exit_code, "PostgreSQL does not allow this" in done.err) == (2, True), done.output
            assert "Traceback" not in done.output


async def test_the_address_of_readers_is_named_in_its_errors(store_settings: MakeSettings) -> None:
    bad = store_settings(reader_postgres_dsn=SecretStr("host=here"), first_week="2014-10-11")
    done = await ddor(bad, "publisher", "serve", DDOR_READER_POSTGRES_DSN="host=here")
    assert (done.exit_code, "DDOR_READER_POSTGRES_DSN must be a URI" in done.output) == (2, True), done.output


async def test_readiness_names_the_address_of_readers(fresh_settings: MakeSettings) -> None:
    nowhere = SecretStr(f"postgresql://pages@127.0.0.1:{free_port()}/ddor")
    async with running(publisher.create(fresh_settings(reader_postgres_dsn=nowhere, first_week="2014-10-11"))) as http:

        async def is_named() -> bool:
            ready = await http.get("/readyz")
            return ready.status_code == 503 and "readers (DDOR_READER_POSTGRES_DSN)" in ready.json()["detail"]

        await until(is_named, "the publisher not ready because of its readers")
        assert (await http.get("/v1/reports")).status_code == 503
