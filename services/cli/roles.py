"""`ddor roles`: create the roles of PostgreSQL, with the least rights that each service needs."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.console import out, run
from services.runtime import migrations, postgres, roles, settings

app = typer.Typer(help="Create the roles of PostgreSQL (docs/security.md). They are optional.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command()
def apply(
    only_print: Annotated[
        bool, typer.Option("--print", help="Print the SQL for an administrator, and change nothing.")
    ] = False,
) -> None:
    """Create the roles, give them the schema's objects, and grant the rights.

    The roles cannot log in: grant them to users, such as GRANT ddor_aggregator TO my_user. The former owner of the
    schema becomes a member of ddor_owner, so nothing stops working.

    The user of DDOR_POSTGRES_DSN must be able to create roles and own the database and the schema. If it does not:
    ddor roles apply --print | psql. Run it again at any time. 'ddor migrate' renews the rights.
    """
    if only_print:
        out.print(roles.script(), highlight=False, soft_wrap=True)
    else:
        run(_apply())


async def _apply() -> None:
    connection = await postgres.connect(settings.load(), "ddor-roles")
    try:
        await roles.install(connection)
        is_current = await migrations.is_current(connection)
        if is_current:
            await roles.grant(connection)
    finally:
        await connection.close()
    out.print(
        "the roles have their rights" if is_current else "the roles exist; run `ddor migrate`, which grants the rights"
    )
