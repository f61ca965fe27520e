"""`ddor`: the command-line program. Exit codes: 0 success, 1 failure, 2 wrong usage, settings or environment."""

from __future__ import annotations

import gc
import sys
from importlib import import_module

import typer

COMMANDS = {
    "Import and publish": {
        "import": "import_file:import_file",
        "history": "history:history",
        "close": "close:close",
        "release": "release:release",
        "restate": "restate:restate",
        "withdraw-lines": "withdraw_lines:withdraw_lines",
        "site": "site:site",
        "policies": "policies:app",
    },
    "Inspect": {
        "status": "status:status",
        "trace": "trace:trace",
        "verify": "verify:verify",
        "audit": "audit:audit",
    },
    "Repair": {
        "rejected": "rejected:app",
        "resume": "resume:resume",
        "recover": "recover:recover",
    },
    "Set up": {
        "migrate": "migrate:migrate",
        "roles": "roles:app",
        "topics": "topics:app",
        "keys": "keys:app",
    },
    "Run the services": {
        "ingest": "serve:ingest",
        "aggregator": "serve:aggregator",
        "publisher": "serve:publisher",
    },
}
"""The commands and groups of commands, by their heading in the help: module in `services.cli`, name in that module."""
_HELP = """The weekly detainer report: counts detainers exactly once and publishes one report a week.

Settings are environment variables that begin with DDOR_ (docs/settings.md). After 'make up', run 'source .local/env' to
set them.

Exit codes:

- 0: success
- 1: failure
- 2: wrong usage or settings, or PostgreSQL, Kafka or ingest cannot be reached
"""


def command(name: str | None) -> typer.Typer:
    """`ddor` with only the command `name`, or with all commands if there is no such command.

    Importing all commands takes longer than importing one service, and would delay its restart after a crash.
    """
    ddor = typer.Typer(
        name="ddor",
        help=_HELP,
        no_args_is_help=True,
        rich_markup_mode="markdown",  # other modes do not wrap paragraphs
        pretty_exceptions_enable=False,
    )
    ddor.callback()(_no_options)  # without a callback, Typer treats a single command as the program itself
    is_known = any(name in commands for commands in COMMANDS.values())
    for heading, commands in COMMANDS.items():
        for known, target in commands.items():
            if not is_known or known == name:
                _add(ddor, known, target, heading)
    return ddor


def _add(ddor: typer.Typer, name: str, target: str, heading: str) -> None:
    module, member = target.split(":")
    found = getattr(import_module(f"services.cli.{module}"), member)
    if isinstance(found, typer.Typer):
        ddor.add_typer(found, name=name, rich_help_panel=heading)
    else:
        ddor.command(name, rich_help_panel=heading)(found)


def _no_options() -> None:
    pass


def main() -> None:
    """Run the command that the arguments name."""
    gc.disable()  # imports create no garbage; collecting takes a sixth of their time
    ddor = command(next((argument for argument in sys.argv[1:] if not argument.startswith("-")), None))
    gc.enable()
    ddor()


if __name__ == "__main__":
    main()
