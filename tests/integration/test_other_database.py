"""Two databases on one server, one restored from the other: a worker terminates no session of the other database."""

from __future__ import annotations

import asyncpg
import pytest

from services.aggregator.queries import SQL as AGGREGATOR
from services.publisher.queries import SQL as PUBLISHER
from tests.support.positions import Connection


@pytest.mark.parametrize(
    ("application", "statement"),
    [("ddor-publisher", PUBLISHER["end_session"]), ("ddor-aggregator-lease", AGGREGATOR["terminate_session"])],
)
async def test_a_session_is_terminated_only_in_the_database_that_names_it(
    connection: Connection, database: str, application: str, statement: str
) -> None:
    elsewhere = database.rpartition("/")[0] + "/postgres"
    theirs = await asyncpg.connect(elsewhere, server_settings={"application_name": application})
    ours = await asyncpg.connect(database, server_settings={"application_name": application})
    try:
        assert not await connection.fetch(statement, theirs.get_server_pid())
        assert await theirs.fetchval("SELECT 1") == 1
        assert await connection.fetchval(statement, ours.get_server_pid()) is True
    finally:
        theirs.terminate()
        ours.terminate()
