"""`ddor import FILE`: a published file's records through ingest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Annotated
from zoneinfo import ZoneInfo

import httpx
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from services.cli.terminal import FAILED, WRONG_USE, err, out, run
from services.importer import acceptance_week, cloudevents, ice_foia
from services.importer.journal import Journal
from services.importer.rows import NotThisFileError, Row
from services.importer.sending import (
    TIMEOUT,
    Destination,
    Envelopes,
    Ingest,
    NotFinishedError,
    Rules,
    Sender,
)
from services.runtime import logs, settings
from services.runtime.errors import ConfigurationError
from services.runtime.settings import Settings

PROFILES: dict[str, ModuleType] = {
    "ice-foia": ice_foia,
    "acceptance-week": acceptance_week,
    "cloudevents": cloudevents,
}
_NOTES = {
    "ice-foia": "The file has no date on which a detainer was declined: issued, declined and recorded are assumed to "
    "be noon on the day the detainer was prepared. Lift reasons other than 'Detainer Declined by LEA' do not count.",
    "acceptance-week": "Demonstration data; each event is a row. Details are synthetic.",
    "cloudevents": "Each line is an event, sent as it is.",
}
_DATASET = re.compile(r"[A-Za-z0-9._-]{1,64}")


def import_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The file, gzipped or not.")],
    profile: Annotated[str, typer.Option(help=f"How to read the file: {', '.join(PROFILES)}.")],
    dataset: Annotated[
        str, typer.Option(help="Name of this data set, one for each file. With the row number it makes the identities.")
    ],
    journal: Annotated[
        Path | None, typer.Option(help="Where progress, receipts and rejects are kept (default: ./import-DATASET).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge all rows here; send and keep nothing.")] = False,
) -> None:
    """Send a file's records through ingest. Interrupt it at any time; the same command goes on where it was.

    A file that has grown is gone on with the same way. With another file, or one whose rows have changed, a name that
    was used is refused and nothing is sent: give each file its own --dataset, and with it another journal. What two
    data sets share is counted twice, unless the events are whole ones, which have their own identities.

    Needs DDOR_INGEST_URL, DDOR_AGENCY and DDOR_AGENCY_KEY; a dry run only DDOR_AGENCY. It does not know the scope of
    the agency. Importing publishes nothing: see `ddor close`.

    Profiles: ice-foia, detainers as released under the FOIA (CSV); acceptance-week, figures of a week, made into
    events (CSV); cloudevents, whole CloudEvents, one a line (.ndjson or .jsonl), sent as they are.

    Exit codes: 0 each row was stored, or rejected for a reason that rejects.csv names; 1 it could not finish, run the
    same command again; 2 wrong use, wrong settings, another kind of file, or ingest refuses all.
    """
    run(_import(file, profile, dataset, journal or Path(f"import-{dataset}"), dry_run))


async def _import(file: Path, profile: str, dataset: str, directory: Path, dry_run: bool) -> int:
    loaded = settings.load()
    if profile not in PROFILES:
        raise ConfigurationError(f"there is no profile {profile!r}; there are {', '.join(PROFILES)}")
    if not _DATASET.fullmatch(dataset):
        raise ConfigurationError("a data set's name has 1 to 64 letters, digits, dots, hyphens or underscores")
    if loaded.agency is None:
        raise ConfigurationError("set DDOR_AGENCY (after `make up`: source .local/env)")
    logs.configure(loaded, "import")
    read: Callable[[Path, str, str, ZoneInfo], Iterator[Row]] = PROFILES[profile].read
    rows = partial(read, file, loaded.agency, dataset, loaded.calendar.zone)
    with TemporaryDirectory() as temporary:
        kept = Journal(Path(temporary) if dry_run else directory, loaded.agency, dataset, profile)
        try:
            if dry_run:
                await _run(rows, Rules(), kept)
            else:
                await _send(rows, loaded, kept)
        except NotThisFileError as error:
            err.print(f"[red]{file.name}:[/red] {error}", highlight=False, soft_wrap=True)
            return WRONG_USE
        except NotFinishedError as error:
            err.print(f"[red]Not finished:[/red] {error}", highlight=False, soft_wrap=True)
            return FAILED
        _print(kept, profile, dry_run)
    return 0


async def _send(rows: Callable[[], Iterator[Row]], loaded: Settings, kept: Journal) -> None:
    if loaded.agency_key is None:
        raise ConfigurationError("set DDOR_AGENCY_KEY (after `make up`: source .local/env)")
    if kept.progress.rows:
        err.print(f"going on behind row {kept.progress.rows:,}, if the file is the same until there", highlight=False)
    async with httpx.AsyncClient(base_url=loaded.ingest_url, timeout=TIMEOUT) as client:
        await _run(rows, Ingest(client, loaded.agency_key.get_secret_value()), kept)


async def _run(rows: Callable[[], Iterator[Row]], destination: Destination, kept: Journal) -> None:
    sender = Sender(destination, Envelopes(kept.progress.agency, kept.progress.dataset))
    with _bar() as progress:
        task = progress.add_task("rows", total=sum(1 for _ in rows()))
        async for answered in sender.run(rows(), kept):
            progress.advance(task, answered)


def _bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=err)


def _print(journal: Journal, profile: str, dry_run: bool) -> None:
    done, became = journal.progress, "acceptable" if dry_run else "stored"
    table = Table(title=f"data set {done.dataset}{', a dry run' if dry_run else ''}", show_header=False)
    for name, count in (
        ("rows", done.rows),
        ("accepted", done.accepted),
        ("rejected", done.rejected),
        *((f"  {reason}", count) for reason, count in sorted(done.reasons.items(), key=lambda item: -item[1])),
        *((f"{kind} events {became}", count) for kind, count in sorted(done.events.items(), reverse=True)),
    ):
        table.add_row(name, f"{count:,}")
    out.print(table)
    out.print(_NOTES[profile], highlight=False, soft_wrap=True)
    if dry_run:
        out.print("Nothing was sent and nothing is kept.", highlight=False)
        return
    out.print(f"receipts {journal.receipts_file}   rejects {journal.rejects_file}", highlight=False, soft_wrap=True)
