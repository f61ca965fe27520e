"""`ddor import FILE`: send the records of a published file through ingest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from services.cli.console import FAILED, WRONG_USE, complain, out, run, table
from services.cli.importing import (
    Dataset,
    File,
    ImportRequest,
    JournalDirectory,
    Mapping,
    ProfileName,
    Supersedes,
    perform,
)
from services.importer.amending import WITHDRAWN
from services.importer.journal import Journal
from services.importer.journal import Progress as Recorded
from services.importer.rows import NotThisFileError
from services.importer.sending import NotFinishedError
from services.runtime import logs, settings

_NOTES = {
    "ice-detainers": "The file does not contain the date on which a detainer was declined. The import uses noon on the "
    "day the detainer was prepared as the time of issue, decline and record. Rows that the agency calls a duplicate "
    "or superseded are stored as withdrawn and do not count.",
    "ice-foia": "The file does not contain the date on which a detainer was declined. The import uses noon on the day "
    "the detainer was prepared as the time of issue, decline and record. Only the lift reason 'Detainer Declined by "
    "LEA' counts as declined.",
    "acceptance-week": "Demonstration data: each event is a row, with synthetic details.",
    "cloudevents": "Each line is an event, sent unchanged.",
}


def import_file(
    file: File,
    profile: ProfileName,
    dataset: Dataset,
    journal: JournalDirectory = None,
    *,
    mapping: Mapping = None,
    supersedes: Supersedes = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all rows; send and store nothing.")] = False,
) -> None:
    """Send the records of a file through ingest.

    Example: ddor import detainers.csv.gz --profile ice-foia --dataset foia-2014

    If you interrupt the command, run it again to continue. If the file has grown, running the command again continues
    after the last acknowledged row. The command refuses another file, or changed rows, under a name that was used, and
    sends nothing: give each file its own --dataset and --journal. A record in two data sets counts twice, unless the
    files contain complete CloudEvents, which have their own identities, or are releases of one file (ice-detainers):

    ddor import august.xlsx --profile ice-detainers --dataset august --supersedes march

    It prints what the two have in common, sends changed rows as new versions, and withdraws the rows that are gone.

    Profiles:

    - ice-detainers: detainers released by ICE from 2023 on (XLSX, CSV, Parquet). The header names the layout; for other
      layouts write a --mapping file: see docs/importing.md
    - ice-foia: detainers released under the FOIA in 2015 (CSV of six columns)
    - acceptance-week: figures of a week, expanded to events (CSV)
    - cloudevents: one complete CloudEvent per line (.ndjson or .jsonl), sent unchanged

    Set DDOR_INGEST_URL, DDOR_AGENCY and DDOR_AGENCY_KEY. A dry run needs only DDOR_AGENCY; it does not check the
    agency's scope. Importing publishes nothing: see 'ddor close' and 'ddor history'.

    Exit codes:

    - 0: each row was stored or is in rejects.csv with a reason
    - 1: not finished; run the same command again
    - 2: wrong usage or settings, a damaged file or one of another kind, or ingest refuses all requests
    """
    directory = journal or Path(f"import-{dataset}")
    run(_import(ImportRequest(file, profile, dataset, directory, mapping, supersedes, dry_run)))


async def _import(request: ImportRequest) -> int:
    loaded = settings.load()
    logs.configure(loaded, "import")
    try:
        journal = await perform(request, loaded)
    except NotThisFileError as error:
        complain(request.path.name, error)
        return WRONG_USE
    except NotFinishedError as error:
        complain("Not finished", error)
        return FAILED
    print_summary(journal, dry_run=request.dry_run)
    return 0


def counted(done: Recorded) -> Iterator[tuple[str, int]]:
    """What became of accepted rows, for profiles that withdraw some: rows = counted + withdrawn + rejected."""
    if not done.parts:
        return
    withdrawn = {mark: count for mark, count in done.marks.items() if mark.startswith(WITHDRAWN)}
    yield "  counted", done.accepted - sum(withdrawn.values())
    yield "  withdrawn", sum(withdrawn.values())
    yield from ((f"    {mark.removeprefix(WITHDRAWN)}", count) for mark, count in withdrawn.items())
    yield from ((f"  {mark}", count) for mark, count in sorted(done.marks.items()) if mark not in withdrawn)


def print_summary(journal: Journal, *, dry_run: bool = False) -> None:
    """Print what became of the rows."""
    done, outcome = journal.progress, "acceptable" if dry_run else "stored"
    shown = table("", "", title=f"data set {done.dataset}{', a dry run' if dry_run else ''}")
    for name, count in (
        ("rows", done.rows),
        *((f"  {part}", count) for part, count in done.parts.items()),
        ("accepted", done.accepted),
        *counted(done),
        ("rejected", done.rejected),
        *((f"  {reason}", count) for reason, count in sorted(done.reasons.items(), key=lambda item: -item[1])),
        *((f"{kind} events {outcome}", count) for kind, count in sorted(done.events.items(), reverse=True)),
    ):
        shown.add_row(name, f"{count:,}")
    out.print(shown)
    out.print(_NOTES[done.profile], highlight=False, soft_wrap=True)
    if dry_run:
        out.print("Nothing was sent or stored.", highlight=False)
        return
    out.print(f"receipts {journal.receipts_file}   rejects {journal.rejects_file}", highlight=False, soft_wrap=True)
