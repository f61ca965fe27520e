"""The journal of an import: a directory with the progress, the receipts and the rejects.

`receipts.ndjson` has each stored event with its address in the log, `rejects.csv` each rejected row with the reason.
After an interruption the same command continues after the last row in the journal. Events that were stored but are not
in the journal are sent again, which cannot count them twice. If the file has grown, the command continues after the
last acknowledged row. It refuses another file: `progress.json` has a digest of the acknowledged rows, and the file must
begin with the same rows.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from services.importer import index
from services.importer.index import Index
from services.importer.rows import Row
from services.runtime.errors import CallerError

_REJECT_COLUMNS = ("row", "field", "reason", "detail")
_PROGRESS = "progress.json"
_PIECE = 5_000
"""Rows that are compared between two updates of the progress."""


class AnotherFileError(CallerError):
    """The file does not begin with the rows in the journal. The message says what to do."""


@dataclass(slots=True)
class Progress:
    """The progress of an import. `rows` = `accepted` + `rejected`; `digest` is the digest of these rows.

    `parts` counts the rows of each part of the file, and `marks` the marks of accepted rows.
    """

    dataset: str
    agency: str
    profile: str
    rows: int = 0
    digest: str = ""
    accepted: int = 0
    rejected: int = 0
    events: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)
    receipts_bytes: int = 0
    rejects_bytes: int = 0


class RowsDigest:
    """SHA-256 of a sequence of rows. It covers everything that determines their events, and nothing else."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, row: Row) -> None:
        """Add the next row."""
        events = [(event.kind, event.data) for event in (*row.events, *row.carried)]
        reject = row.reject and (row.reject.field, row.reject.reason)
        length = None if row.whole is None else len(row.whole)
        self._sha256.update(msgspec.json.encode((row.number, events, reject, length)) + (row.whole or b""))

    @property
    def text(self) -> str:
        """The digest of the rows added so far, in hexadecimal."""
        return self._sha256.hexdigest()


class Journal:
    """The files of one import. `note` writes receipts and rejects, and then the progress, atomically."""

    def __init__(
        self,
        directory: Path,
        agency: str,
        dataset: str,
        profile: str,
        *,
        indexed: bool = False,
        supersedes: str | None = None,
    ) -> None:
        """Open or create it, with an index of the detainers if `indexed`. `supersedes` is an earlier data set.

        Raises CallerError if the directory belongs to another import or an older format.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._progress_file = directory / _PROGRESS
        self.receipts_file = directory / "receipts.ndjson"
        self.rejects_file = directory / "rejects.csv"
        self.progress = self._read(Progress(dataset, agency, profile))
        self.index = Index(directory / index.NAME, self.progress.rows, supersedes) if indexed else None
        for path, size in (
            (self.receipts_file, self.progress.receipts_bytes),
            (self.rejects_file, self.progress.rejects_bytes),
        ):
            path.touch()
            with path.open("r+b") as file:
                file.truncate(size)
        if self.progress.rejects_bytes == 0:
            self._append_rejects([dict(zip(_REJECT_COLUMNS, _REJECT_COLUMNS, strict=True))])

    def _read(self, new: Progress) -> Progress:
        if not self._progress_file.exists():
            return new
        stored = json.loads(self._progress_file.read_text())
        if "digest" not in stored:
            raise CallerError(
                f"{self._directory} was written by an earlier version and does not identify its file: choose another "
                "--journal for the same --dataset; events that were stored before cannot count twice"
            )
        progress = Progress(**stored)
        if (progress.dataset, progress.agency, progress.profile) != (new.dataset, new.agency, new.profile):
            raise CallerError(
                f"{self._directory} belongs to data set {progress.dataset} of {progress.agency}, profile "
                f"{progress.profile}; choose another --journal"
            )
        return progress

    def pass_over(self, rows: Iterator[Row], digest: RowsDigest) -> Iterator[int]:
        """Consume the acknowledged rows from `rows` and add them to `digest`. Yields their number in pieces.

        Raises AnotherFileError, at the latest after the last of them, if they differ from those in the journal.
        """
        noted, seen = self.progress.rows, 0
        while seen < noted:
            before = seen
            for row in islice(rows, min(_PIECE, noted - seen)):
                digest.add(row)
                seen += 1
            if seen == before:
                raise self._another(f"this file has {seen:,} rows, but {noted:,} are acknowledged")
            yield seen - before
        if noted and digest.text != self.progress.digest:
            raise self._another(f"this file does not begin with the {noted:,} acknowledged rows")

    def _another(self, found: str) -> AnotherFileError:
        return AnotherFileError(
            f"{found}. {self._directory} was started with another file, or the file or the way it is read (DDOR_ZONE, "
            "program version) has changed. Nothing was sent. To send the file from the beginning, choose another "
            "--dataset and --journal. Identities contain the data set's name, so rows that were sent before count "
            "again, unless they are complete CloudEvents or detainers of the profile ice-detainers"
        )

    def note(
        self, rows: Sequence[Row], digest: RowsDigest, receipts: Iterable[dict[str, Any]], rejects: list[dict[str, Any]]
    ) -> None:
        """Record the receipts and rejects of the next `rows`. `digest` covers all rows from the first on."""
        receipts = list(receipts)
        if self.index is not None:
            self.index.note(rows, {(receipt["row"], receipt["kind"]) for receipt in receipts})
        with self.receipts_file.open("ab") as file:
            for receipt in receipts:
                file.write(json.dumps(receipt, separators=(",", ":")).encode() + b"\n")
                _count(self.progress.events, receipt["kind"])
            self.progress.receipts_bytes = file.tell()
        self._append_rejects(rejects)
        self.progress.rows += len(rows)
        self.progress.digest = digest.text
        self.progress.rejected += len(rejects)
        self.progress.accepted = self.progress.rows - self.progress.rejected
        for reject in rejects:
            _count(self.progress.reasons, reject["reason"])
        refused = {reject["row"] for reject in rejects}
        for row in rows:
            if row.part:
                _count(self.progress.parts, row.part)
            for mark in row.marks if row.number not in refused else ():
                _count(self.progress.marks, mark)
        temporary = self._progress_file.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self.progress)))
        temporary.replace(self._progress_file)

    def close(self) -> None:
        """Close the index."""
        if self.index is not None:
            self.index.close()

    def _append_rejects(self, rejects: list[dict[str, Any]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, _REJECT_COLUMNS, lineterminator="\n")
        writer.writerows(rejects)
        with self.rejects_file.open("ab") as file:
            file.write(text.getvalue().encode())
            self.progress.rejects_bytes = file.tell()


def indexes_beside(directory: Path, agency: str) -> dict[str, Path]:
    """The indexes of this agency's imports whose journals are in the same directory as this one, by data set."""
    found: dict[str, Path] = {}
    for one in sorted(directory.resolve().parent.glob(f"*/{index.NAME}")):
        if one.parent == directory.resolve():
            continue
        try:
            progress = json.loads((one.parent / _PROGRESS).read_text())
            if progress["agency"] == agency:
                found[str(progress["dataset"])] = one
        except (OSError, ValueError, KeyError, TypeError):  # not a journal
            continue
    return found


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1
