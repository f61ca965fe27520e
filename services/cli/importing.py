"""The steps of an import, shared by `ddor import` and `ddor history`: read, compare with other releases, send."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Annotated, Any

import stamina.instrumentation
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from schemas.a_number import has_a_number
from schemas.week import ReportingCalendar
from services.cli.console import complain, err, out
from services.importer import acceptance_week, cloudevents, https, ice_detainers, ice_foia
from services.importer.files import InputFile
from services.importer.index import Index, superseded_by
from services.importer.journal import Journal, indexes_beside
from services.importer.rows import Row
from services.importer.sending import TIMEOUT, Destination, DryRun, Envelopes, Ingest, Sender
from services.importer.superseding import Superseding, plan, shared
from services.runtime.errors import CallerError, ConfigurationError
from services.runtime.settings import Settings

PROFILES: dict[str, ModuleType] = {
    "ice-detainers": ice_detainers,
    "ice-foia": ice_foia,
    "acceptance-week": acceptance_week,
    "cloudevents": cloudevents,
}
_Read = Callable[[InputFile, str, str, ReportingCalendar], Iterator[Row]]
_Then = Callable[[], Iterator[Row]] | None
_KEY = re.compile(r"[!-~]+")
_DATASET = re.compile(r"[A-Za-z0-9._-]{1,64}")

File = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The file to import. May be gzipped.")
]
ProfileName = Annotated[str, typer.Option("--profile", help=f"Format of the file: {', '.join(PROFILES)}.")]
Dataset = Annotated[
    str,
    typer.Option(
        help="Name of the data set, such as foia-2014: 1 to 64 letters, digits, '.', '_' or '-'. Use a new name for"
        " each file. Except for ice-detainers, identities consist of this name and the row number."
    ),
]
JournalDirectory = Annotated[
    Path | None,
    typer.Option("--journal", help="Directory for progress, receipts and rejects.", show_default="./import-DATASET"),
]
Mapping = Annotated[
    Path | None,
    typer.Option(
        exists=True, dir_okay=False, readable=True, help="TOML file that names the columns of an unknown layout."
    ),
]
Supersedes = Annotated[
    str | None,
    typer.Option(
        metavar="DATASET",
        help="Data set of an earlier release of this file (ice-detainers), with its journal beside this one's: amend it"
        " instead of adding to it.",
    ),
]


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What to import, under which name, and where the journal is."""

    path: Path
    profile: str
    dataset: str
    directory: Path
    mapping: Path | None = None
    supersedes: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class _Source:
    """A file, and how to read its rows from the first on."""

    file: InputFile
    read: Callable[[], Iterator[Row]]


async def perform(request: ImportRequest, loaded: Settings, see: Callable[[Row], None] = lambda _: None) -> Journal:
    """Import a file. `see` is called with each row, those of an interrupted run included. Returns the closed journal.

    Raises NotThisFileError, NotFinishedError and CallerError.
    """
    _check(request)
    if loaded.agency is None:
        raise ConfigurationError("set DDOR_AGENCY (after `make up`: source .local/env)")
    key = None if request.dry_run else _key(loaded)
    file = InputFile(request.path)
    read, described = _reader(request)
    source = _Source(file, partial(read, file, loaded.agency, request.dataset, loaded.calendar))
    with _journal(request, loaded.agency) as journal:
        for sentence in described(file):
            err.print(sentence, highlight=False, soft_wrap=True)
        compared = await _compared(request, source, journal, loaded.agency)
        rows = compared.rows(source.read()) if compared else source.read()
        then = partial(compared.gone, f"only in {request.supersedes}") if compared else None
        if key is None:
            await _run(file, _seen(rows, see), then, DryRun(), journal)
        else:
            if compared:
                compared.claim()
            await _send(file, _seen(rows, see), then, (loaded.ingest_url, key), journal)
        if compared:
            compared.finish(journal.progress.rows)
        if journal.index:
            journal.index.finish()
    return journal


def _check(request: ImportRequest) -> None:
    if request.profile not in PROFILES:
        raise ConfigurationError(f"unknown profile {request.profile!r}: use one of {', '.join(PROFILES)}")
    if not _DATASET.fullmatch(request.dataset):
        raise ConfigurationError("--dataset must have 1 to 64 letters, digits, dots, hyphens or underscores")
    if any(has_a_number(f"{request.dataset}/{'1' * digits}/issued") for digits in range(1, 10)):
        raise ConfigurationError("--dataset becomes part of each event's id and must not look like an A-number")
    for name in ("mapping", "supersedes"):
        if getattr(request, name) and request.profile != "ice-detainers":
            raise ConfigurationError(f"--{name} is an option of the profile ice-detainers")


def _reader(request: ImportRequest) -> tuple[_Read, Callable[[InputFile], list[str]]]:
    """How to read the file's rows, and how to describe its layout first."""
    if request.profile == "ice-detainers":
        columns = ice_detainers.load(request.mapping) if request.mapping else None
        return partial(ice_detainers.read, mapping=columns), partial(ice_detainers.describe, mapping=columns)
    return PROFILES[request.profile].read, lambda _: []


@contextmanager
def _journal(request: ImportRequest, agency: str) -> Iterator[Journal]:
    with TemporaryDirectory() as temporary:
        journal = Journal(
            Path(temporary) if request.dry_run else request.directory, agency, request.dataset, request.profile,
            indexed=request.profile == "ice-detainers", supersedes=request.supersedes,
        )  # fmt: skip
        try:
            yield journal
        except sqlite3.Error as error:
            raise CallerError(f"the journal's index, or that of an earlier release: {error}") from error
        finally:
            journal.close()


async def _compared(request: ImportRequest, source: _Source, journal: Journal, agency: str) -> Superseding | None:
    """The comparison with the superseded import; its result is printed. Without one, warn of rows of other imports."""
    if journal.index is None:
        return None
    others = indexes_beside(request.directory, agency)
    if request.supersedes is None:
        await _warn(request, source, journal.index, others)
        return None
    if request.supersedes not in others:
        known = f"; there are {', '.join(others)}" if others else ""
        where = request.directory.resolve().parent
        raise CallerError(f"there is no journal with an index of data set {request.supersedes} in {where}{known}")
    superseding = Superseding(journal.index, others[request.supersedes], request.dataset)
    await _read_all(source, superseding.compare)
    found = superseding.match()
    out.print(
        f"compared with {request.supersedes}: {found.both:,} rows in both, {found.changed:,} of them changed; "
        f"{found.only_earlier:,} only in {request.supersedes}; {found.only_later:,} only in this file",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    return superseding


async def _warn(request: ImportRequest, source: _Source, index: Index, others: dict[str, Path]) -> None:
    """Warn if the newest releases beside this one have rows of this file."""
    newest = {path: dataset for dataset, path in others.items() if not superseded_by(path)}
    if not newest:
        return
    await _read_all(source, partial(plan, index))
    for path, count in shared(index, newest):
        if count:
            again = f"add --supersedes {newest[path]} if {request.path.name} is a later release of the same data"
            complain("Warning", f"{count:,} rows are in data set {newest[path]} too: {again}")


async def _read_all(source: _Source, reads: Callable[[Iterator[Row]], Iterator[int]]) -> None:
    """Read the whole file, with a progress bar."""
    done = 0
    with _bar("comparing") as progress:
        task = progress.add_task("", total=source.file.bytes_total, rows=done)
        for more in reads(source.read()):
            done += more
            progress.update(task, completed=source.file.bytes_read, rows=done)
            await asyncio.sleep(0)  # Ctrl-C takes effect here


def _seen(rows: Iterator[Row], see: Callable[[Row], None]) -> Iterator[Row]:
    for row in rows:
        see(row)
        yield row


def _key(loaded: Settings) -> str:
    """The agency's key. Raises ConfigurationError if it cannot be one."""
    if loaded.agency_key is None:
        raise ConfigurationError("set DDOR_AGENCY_KEY (after `make up`: source .local/env)")
    key = loaded.agency_key.get_secret_value()
    if not _KEY.fullmatch(key):
        raise ConfigurationError("DDOR_AGENCY_KEY contains an invalid character: remove spaces and line ends")
    return key


async def _send(file: InputFile, rows: Iterator[Row], then: _Then, ingest: tuple[str, str], journal: Journal) -> None:
    """Send to ingest, given its address and the agency's key."""
    if journal.progress.rows:
        err.print(f"continuing after row {journal.progress.rows:,} if the rows before are unchanged", highlight=False)
    stamina.instrumentation.set_on_retry_hooks(())  # `complain` reports it once, not at each attempt
    url, key = ingest
    async with https.client(url, TIMEOUT) as client:
        destination: Destination = Ingest(client, key, partial(complain, "Waiting"))
        if journal.index and (by := journal.index.meta("superseded_by")):
            destination = _Superseded(by)
        await _run(file, rows, then, destination, journal)


class _Superseded:
    """Refuses more rows of a data set that another one supersedes: the other one would not withdraw them."""

    def __init__(self, by: str) -> None:
        self._by = by

    async def send(self, lines: list[bytes]) -> list[dict[str, Any]]:
        raise CallerError(
            f"data set {self._by} supersedes this one, and {len(lines):,} or more events of the file were not sent: "
            f"import it as a new data set with --supersedes {self._by}"
        )


async def _run(file: InputFile, rows: Iterator[Row], then: _Then, destination: Destination, journal: Journal) -> None:
    sender = Sender(destination, Envelopes(journal.progress.agency, journal.progress.dataset))
    done = 0
    with _bar("sending") as progress:
        task = progress.add_task("", total=file.bytes_total, rows=done)
        async for more in sender.run(rows, journal, then):
            done += more
            progress.update(task, completed=file.bytes_read, rows=done)
            await asyncio.sleep(0)


def _bar(doing: str) -> Progress:
    """A bar over the bytes of the file. The number of its rows is unknown until it has been read."""
    columns = (
        TextColumn(f"{doing} {{task.fields[rows]:,}} rows"),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=err)
