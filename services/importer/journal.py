"""What has become of an import's rows, kept in a directory.

`progress.json`, `receipts.ndjson` (each event that was stored, and where) and `rejects.csv` (each row that was not, and
why). After an interruption the same command goes on behind the last row that was noted; what was stored but not yet
noted is sent again, which cannot count twice. A file that has grown goes on the same way. Another file does not: of the
rows that were noted a digest is kept, and the file must begin with them.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from services.importer.rows import Row
from services.runtime.errors import CallerError

_REJECT_COLUMNS = ("row", "field", "reason", "detail")
_PIECE = 5_000
"""Rows that are compared before the next sign of life."""


class AnotherFileError(CallerError):
    """The file does not begin with the rows that are noted; the message says what to do."""


@dataclass(slots=True)
class Progress:
    """How far an import has come. `rows` = `accepted` + `rejected`, always; `digest` is over these rows."""

    dataset: str
    agency: str
    profile: str
    rows: int = 0
    digest: str = ""
    accepted: int = 0
    rejected: int = 0
    events: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    receipts_bytes: int = 0
    rejects_bytes: int = 0


class RowsDigest:
    """SHA-256 over rows, one behind the other: over all that makes their events, and nothing that a run adds to it."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, row: Row) -> None:
        """The next row."""
        events = [(event.kind, event.data) for event in row.events]
        reject = row.reject and (row.reject.field, row.reject.reason)
        length = None if row.whole is None else len(row.whole)
        self._sha256.update(msgspec.json.encode((row.number, events, reject, length)) + (row.whole or b""))

    @property
    def text(self) -> str:
        """The digest of the rows until now, in hex."""
        return self._sha256.hexdigest()


class Journal:
    """The files of one import. `note` writes what was answered, and last of all the progress, atomically."""

    def __init__(self, directory: Path, agency: str, dataset: str, profile: str) -> None:
        """Open or begin; CallerError when the directory belongs to another import, or to an older form of journal."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._progress_file = directory / "progress.json"
        self.receipts_file = directory / "receipts.ndjson"
        self.rejects_file = directory / "rejects.csv"
        self.progress = self._read(Progress(dataset, agency, profile))
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
        kept = json.loads(self._progress_file.read_text())
        if "digest" not in kept:
            raise CallerError(
                f"{self._directory} does not say which file it was begun with, for an earlier version kept it; choose "
                "another --journal for the same --dataset: what was stored before cannot count twice"
            )
        progress = Progress(**kept)
        if (progress.dataset, progress.agency, progress.profile) != (new.dataset, new.agency, new.profile):
            raise CallerError(
                f"{self._directory} belongs to data set {progress.dataset} of {progress.agency}, profile "
                f"{progress.profile}; choose another --journal"
            )
        return progress

    def pass_over(self, rows: Iterator[Row], digest: RowsDigest) -> Iterator[int]:
        """Take the rows that are noted off `rows`, into `digest`; yields how many more they are, piece by piece.

        AnotherFileError, at the latest behind the last of them, when they are not those that were noted.
        """
        noted, seen = self.progress.rows, 0
        while seen < noted:
            before = seen
            for row in islice(rows, min(_PIECE, noted - seen)):
                digest.add(row)
                seen += 1
            if seen == before:
                raise self._another(f"this file has {seen:,} rows, and {noted:,} are answered")
            yield seen - before
        if noted and digest.text != self.progress.digest:
            raise self._another(f"this file does not begin with the {noted:,} rows that are answered")

    def _another(self, found: str) -> AnotherFileError:
        return AnotherFileError(
            f"{found}: {self._directory} was begun with another file, or this one has changed since, or is read "
            "otherwise (DDOR_ZONE, another version). Nothing was sent. To send it from the beginning choose another "
            "--dataset and --journal; the data set's name makes the identities, so what was sent before counts again "
            "under another, unless its events have their own"
        )

    def note(
        self, rows: int, digest: RowsDigest, receipts: Iterable[dict[str, Any]], rejects: list[dict[str, Any]]
    ) -> None:
        """Note the answers to the next `rows` rows; `digest` is over all rows from the first on, these included."""
        with self.receipts_file.open("ab") as file:
            for receipt in receipts:
                file.write(json.dumps(receipt, separators=(",", ":")).encode() + b"\n")
                _count(self.progress.events, receipt["kind"])
            self.progress.receipts_bytes = file.tell()
        self._append_rejects(rejects)
        self.progress.rows += rows
        self.progress.digest = digest.text
        self.progress.rejected += len(rejects)
        self.progress.accepted = self.progress.rows - self.progress.rejected
        for reject in rejects:
            _count(self.progress.reasons, reject["reason"])
        temporary = self._progress_file.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self.progress)))
        temporary.replace(self._progress_file)

    def _append_rejects(self, rejects: list[dict[str, Any]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, _REJECT_COLUMNS, lineterminator="\n")
        writer.writerows(rejects)
        with self.rejects_file.open("ab") as file:
            file.write(text.getvalue().encode())
            self.progress.rejects_bytes = file.tell()


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1
