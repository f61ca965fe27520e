"""`ddor roles`: create the roles of PostgreSQL, with the least rights that each service needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from services.cli.console import out, run
from services.runtime import logins, migrations, postgres, roles, settings

app = typer.Typer(help="Create the roles of PostgreSQL (docs/security.md). They are optional.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command()
def apply(
    only_print: Annotated[
        bool, typer.Option("--print", help="Print the SQL for an administrator, and change nothing.")
    ] = False,
    users: Annotated[
        list[str] | None,
        typer.Option(
            "--user",
            metavar="ROLE=FILE",
            help="Also create the user of the address in FILE, with its password, and grant it ROLE. Repeatable.",
        ),
    ] = None,
) -> None:
    """Create the roles, give them the schema's objects, and grant the rights.

    The roles cannot log in: grant them to users, such as GRANT ddor_aggregator TO my_user, or give each service's file
    of DDOR_POSTGRES_DSN_FILE here, as in --user ddor_aggregator=FILE. The former owner of the schema becomes a member
    of ddor_owner, so nothing stops working.

    The user of DDOR_POSTGRES_DSN must be able to create roles and own the database and the schema. If it does not:
    ddor roles apply --print | psql. Run it again at any time. 'ddor migrate' renews the rights.
    """
    if only_print:
        if users:
            raise typer.BadParameter("--print prints no users: omit --user")
        out.print(roles.script(), highlight=False, soft_wrap=True)
    else:
        run(_apply(users or []))


async def _apply(users: Sequence[str]) -> None:
    named = [logins.read(text) for text in users]
    connection = await postgres.connect(settings.load(), "ddor-roles")
    try:
        await roles.install(connection)
        is_current = await migrations.is_current(connection)
        if is_current:
            await roles.grant(connection)
        async with connection.transaction():
            for login in named:
                await logins.apply(connection, login)
    finally:
        await connection.close()
    out.print(
        "the roles have their rights" if is_current else "the roles exist; run `ddor migrate`, which grants the rights"
    )
    for login in named:
        out.print(f"{login.user}: may log in, with {login.role}")
