"""`ddor recover`: make database and `report-ready` equal again after one of them was lost or restored from a backup."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer

from services.cli import site_copy
from services.cli.console import WRONG_USE, err, impersonal, out, run
from services.cli.site_copy import Revision
from services.publisher import announcements, inputs, kept_messages, recovery
from services.publisher.announcements import Announced
from services.publisher.queries import SQL
from services.publisher.store import Store
from services.runtime import kafka, postgres, settings
from services.runtime.agencies import AgenciesFile
from services.runtime.errors import ConfigurationError
from services.runtime.settings import Settings


def recover(
    by: Annotated[
        str, typer.Option("--by", callback=impersonal, help="Your name. Stored in the table operator_action.")
    ],
    documents: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="A copy of the site (see 'ddor site'). Revisions that it has are restored completely, byte for byte,"
            " with the current inputs that they name.",
        ),
    ] = None,
    announce: Annotated[
        bool,
        typer.Option(
            "--announce",
            help="The opposite, after the loss of Kafka: send the announcements again that report-ready lacks."
            " Stop all publishers first; the next one sends them.",
        ),
    ] = False,
    disregard: Annotated[
        str | None,
        typer.Option(
            metavar="TOPIC/PARTITION/OFFSET",
            help="Skip this unreadable record of report-ready from now on. Look at it first: it must not announce a"
            " report. Example: report-ready/0/17",
        ),
    ] = None,
) -> None:
    """Import the published revisions that the database lacks from the topic report-ready.

    Run it after a restore from a backup, when the publisher reports RecoveryNeededError. Later revisions then continue
    the numbers and the chain of digests.

    Without --documents, recovered reports lack the tables that announcements do not contain, and 'ddor verify' cannot
    verify them.
    """
    run(_recover(by, documents, announce, disregard))


async def _recover(by: str, documents: Path | None, announce: bool, disregard: str | None) -> int:
    loaded = settings.load()
    connection = await postgres.connect(loaded, "ddor-recover")
    client = kafka.client(loaded, "ddor-recover")
    try:
        if disregard is not None:
            await recovery.disregard(connection, client, disregard, by)
            out.print(f"{disregard}: skipped from now on", markup=False, highlight=False)
        if announce:
            return await _announce(connection, client, by)
        return await _restore(connection, client, loaded, by, documents)
    finally:
        await connection.close()


async def _restore(
    connection: asyncpg.Connection[Any], client: Mapping[str, Any], loaded: Settings, by: str, documents: Path | None
) -> int:
    now = datetime.now(UTC)
    store = Store(connection, loaded.calendar, loaded.hold)
    lacking = await recovery.missing(connection, announcements.read(client))
    complete: dict[Revision, dict[str, Any]] = {}
    missing: list[str] = []
    if documents is not None:
        complete = await _documents(connection, documents, lacking)
    async with connection.transaction():
        for one in lacking:
            await recovery.restore(connection, store, one, by, now, complete=complete.get(_revision(one)))
        if complete:
            missing = await recovery.complete_inputs(connection, complete.values(), _current_inputs(loaded))
        if lacking:
            names = [str(one) for one in lacking]
            await connection.execute(SQL["add_action"], by, "recover", "report", {"revisions": names})
    for one in lacking:
        how = "recovered with its document" if _revision(one) in complete and not one.final else "recovered"
        out.print(f"{one}: {how}, published {one.published_at:%Y-%m-%d %H:%M:%S}Z", highlight=False)
    if not lacking:
        out.print("nothing to recover: the database has every revision that was published")
    if missing:
        names = sorted(set(missing))
        err.print(f"missing inputs: {', '.join(names)}; `ddor verify` cannot verify revisions made with them")
    return 0


async def _documents(
    connection: asyncpg.Connection[Any], directory: Path, lacking: list[Announced]
) -> dict[Revision, dict[str, Any]]:
    """The documents of these revisions in a copy of the site. Raises the errors of `site_copy`."""
    rows = await connection.fetch(SQL["published"])
    known = {Revision(row["week"], row["revision"]) for row in rows} | {_revision(one) for one in lacking}
    site_copy.check_announced(directory, dict.fromkeys(known))
    found: dict[Revision, dict[str, Any]] = {}
    for one in lacking:
        document = site_copy.document(directory, one)
        if document is not None and document.get("line_list") is not None:
            # Its true numbers were never published. Without them, a further list could reveal small numbers.
            err.print(f"{one}: has a line list, so it is recovered from its announcement")
        elif document is not None:
            found[_revision(one)] = document
    return found


def _revision(one: Announced) -> Revision:
    return Revision(one.week, one.revision)


def _current_inputs(loaded: Settings) -> inputs.ReportInputs:
    file = AgenciesFile(loaded.agencies_file, time.monotonic)
    known = file.current()
    if known is None:
        raise ConfigurationError(file.problem)
    return inputs.of_settings(loaded, known)


async def _announce(connection: asyncpg.Connection[Any], client: Mapping[str, Any], by: str) -> int:
    if lacking := await recovery.missing(connection, announcements.read(client)):
        err.print(f"the database lacks {len(lacking)} announced revisions: run `ddor recover` without --announce first")
        return WRONG_USE
    again = await kept_messages.send_again(connection, client)
    if again:
        await connection.execute(SQL["add_action"], by, "announce", "report-ready", {"messages": len(again)})
    out.print(
        f"{len(again)} announcements: the next publisher sends them again"
        if again
        else "nothing to send: report-ready has every announcement"
    )
    return 0
