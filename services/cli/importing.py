"""`ddor import FILE`: a published file's records through ingest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated
from zoneinfo import ZoneInfo

import httpx
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from services.cli.terminal import WRONG_USE, err, out, run
from services.importer import acceptance_week, ice_foia
from services.importer.rows import NotThisFileError, Row
from services.importer.sending import Journal, Sender
from services.runtime import logs, settings
from services.runtime.errors import ConfigurationError

PROFILES: dict[str, ModuleType] = {"ice-foia": ice_foia, "acceptance-week": acceptance_week}
_NOTES = {
    "ice-foia": "The file has no date on which a detainer was declined: issued, declined and recorded are assumed to "
    "be noon on the day the detainer was prepared. Lift reasons other than 'Detainer Declined by LEA' do not count.",
    "acceptance-week": "Demonstration data; each event is a row. Details are synthetic.",
}
_DATASET = re.compile(r"[A-Za-z0-9._-]{1,64}")


def import_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="CSV, plain or gzipped.")],
    profile: Annotated[str, typer.Option(help=f"How to read the file: {', '.join(PROFILES)}.")],
    dataset: Annotated[str, typer.Option(help="Name of this data set. With the row number it makes the identities.")],
    journal: Annotated[
        Path | None, typer.Option(help="Where progress, receipts and rejects are kept (default: ./import-DATASET).")
    ] = None,
) -> None:
    """Send a file's records through ingest. Interrupt it at any time; the same command goes on where it was.

    Needs DDOR_INGEST_URL, DDOR_AGENCY and DDOR_AGENCY_KEY. Importing publishes nothing: see `ddor close`.
    """
    run(_import(file, profile, dataset, journal or Path(f"import-{dataset}")))


async def _import(file: Path, profile: str, dataset: str, directory: Path) -> int:
    loaded = settings.load()
    if profile not in PROFILES:
        raise ConfigurationError(f"there is no profile {profile!r}; there are {', '.join(PROFILES)}")
    if not _DATASET.fullmatch(dataset):
        raise ConfigurationError("a data set's name has 1 to 64 letters, digits, dots, hyphens or underscores")
    if loaded.agency is None or loaded.agency_key is None:
        raise ConfigurationError("set DDOR_AGENCY and DDOR_AGENCY_KEY (after `make up`: source .local/env)")
    logs.configure(loaded, "import")
    reader = PROFILES[profile]
    read: Callable[[Path, str, str, ZoneInfo], Iterator[Row]] = reader.read
    try:
        total = sum(1 for _ in read(file, loaded.agency, dataset, loaded.calendar.zone))
        kept = Journal(directory, loaded.agency, dataset)
        if kept.progress.rows:
            err.print(f"going on behind row {kept.progress.rows:,}", highlight=False)
        async with httpx.AsyncClient(base_url=loaded.ingest_url, timeout=30) as client:
            sender = Sender(client, loaded.agency, loaded.agency_key.get_secret_value(), dataset)
            with _bar() as progress:
                task = progress.add_task("rows", total=total, completed=kept.progress.rows)
                async for answered in sender.run(read(file, loaded.agency, dataset, loaded.calendar.zone), kept):
                    progress.advance(task, answered)
    except NotThisFileError as error:
        err.print(f"[red]{file.name}:[/red] {error}", highlight=False, soft_wrap=True)
        return WRONG_USE
    _print(kept, profile)
    return 0


def _bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=err)


def _print(journal: Journal, profile: str) -> None:
    done = journal.progress
    table = Table(title=f"data set {done.dataset}", show_header=False)
    for name, count in (
        ("rows", done.rows),
        ("accepted", done.accepted),
        ("rejected", done.rejected),
        *((f"  {reason}", count) for reason, count in sorted(done.reasons.items(), key=lambda item: -item[1])),
        *((f"{kind} events stored", count) for kind, count in sorted(done.events.items(), reverse=True)),
    ):
        table.add_row(name, f"{count:,}")
    out.print(table)
    out.print(_NOTES[profile], highlight=False, soft_wrap=True)
    out.print(f"receipts {journal.receipts_file}   rejects {journal.rejects_file}", highlight=False, soft_wrap=True)
