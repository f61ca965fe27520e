"""The roles of the database, with the least rights that each service needs: `deploy/roles.sql`.

They are optional. Without them, one user owns the schema and does everything. Roles belong to a whole server, so they
may be created for several databases at once.
"""

from __future__ import annotations

from typing import Any, Final

import asyncpg

from services.runtime import queries
from services.runtime.errors import ConfigurationError

OWNER: Final = "ddor_owner"
"""The owner of the schema and of all objects in it. Its members may change the schema."""
_SQL: Final = queries.load("deploy", "roles.sql")
_ADMINISTRATION: Final = ("create_roles", "own_objects")
_ATTEMPTS = 5
_OF_ANOTHER_DATABASE = (asyncpg.UniqueViolationError, asyncpg.InternalServerError, asyncpg.DeadlockDetectedError)
"""Errors of two sessions that change the same role: the second attempt finds the work done."""


class RolesRefusedError(ConfigurationError):
    """The user may not create roles, or does not own the database."""


def script() -> str:
    """SQL that creates the roles, for psql and an administrator. The rights follow with `ddor migrate`."""
    statements = [f"{_SQL[name]};" for name in _ADMINISTRATION]
    return "\n".join(["BEGIN;", "SET LOCAL lock_timeout = '10s';", *statements, "COMMIT;"])


async def install(connection: asyncpg.Connection[Any]) -> None:
    """Create the roles, and make `ddor_owner` the owner of the schema. Changes nothing that is so already.

    Waits at most 10 s for a lock on a table. Raises RolesRefusedError.
    """
    for attempt in range(_ATTEMPTS):
        try:
            async with connection.transaction():
                await connection.execute("SET LOCAL lock_timeout = '10s'")
                for name in _ADMINISTRATION:
                    await connection.execute(_SQL[name])
        except asyncpg.InsufficientPrivilegeError as error:
            raise RolesRefusedError(
                f"PostgreSQL does not allow this ({error.args[0]}): let an administrator of the server run the output"
                " of `ddor roles apply --print` in this database, with psql"
            ) from error
        except _OF_ANOTHER_DATABASE:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return


async def are_installed(connection: asyncpg.Connection[Any], schema: str = "ddor") -> bool:
    """Whether the schema belongs to `ddor_owner`."""
    owner = await connection.fetchval("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = $1", schema)
    return bool(owner == OWNER)


async def grant(connection: asyncpg.Connection[Any]) -> None:
    """Give each role its rights on the newest schema, and take all others. Needs membership in `ddor_owner`."""
    async with connection.transaction():
        await connection.execute(f"SET LOCAL ROLE {OWNER}; SET LOCAL search_path = ddor")
        await connection.execute(_SQL["grant_rights"])
