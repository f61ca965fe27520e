"""The index of an import: which detainers it sent, with their facts, so that a later release can amend them.

An SQLite file in the journal's directory. It has digests of keys and the data of events as they were sent, and nothing
of a person. It is written before the journal's progress; `open_index` deletes what is after the progress.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from uuid import UUID

import msgspec

from services.importer.rows import Event, Identity, Row
from services.runtime.errors import CallerError

NAME = "index.sqlite"
_FORMAT = "1"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS detainer (
    number INTEGER PRIMARY KEY, detainer_id BLOB NOT NULL, "full" BLOB NOT NULL, loose BLOB NOT NULL,
    content BLOB NOT NULL, gone INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS fact (
    number INTEGER NOT NULL, kind TEXT NOT NULL, detainer_id BLOB NOT NULL, version INTEGER NOT NULL,
    withdrawn INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (number, kind)
) WITHOUT ROWID;
"""
_SORTED = """
CREATE INDEX IF NOT EXISTS detainer_by_id ON detainer (detainer_id);
CREATE INDEX IF NOT EXISTS fact_by_id ON fact (detainer_id, kind, version);
"""
"""Created when all rows of the file are in the index: kept while inserting, they would be most of the work."""


class Index:
    """The index of one import, for writing."""

    def __init__(self, path: Path, rows: int = 0, supersedes: str | None = None) -> None:
        """Open or create it, with `rows` rows in the journal. `supersedes`: the data set that the import supersedes.

        Raises CallerError if the import was begun with another `supersedes`, or if the file is not an index.
        """
        self.path = path
        self.content_of: Callable[[Row], bytes | None] = lambda row: content(row.events)
        """The digest of the content of a row of the file. None: the row is not in the file and withdraws a detainer."""
        self.connection = sqlite3.connect(path, isolation_level=None, uri=True)
        try:
            self.connection.executescript("PRAGMA synchronous = NORMAL;" + _SCHEMA)
        except sqlite3.DatabaseError as error:
            raise CallerError(f"{path} is not an index of an import: {error}") from error
        self._begin(rows, supersedes or "")
        self.connection.execute("DELETE FROM meta WHERE name = 'finished'")
        self.connection.execute("DELETE FROM detainer WHERE number > ?", (rows,))
        self.connection.execute("DELETE FROM fact WHERE number > ?", (rows,))

    def _begin(self, rows: int, supersedes: str) -> None:
        if rows and self.meta("format") is None:
            raise CallerError(
                f"{self.path.parent} was written by an earlier version and has no index: choose another --journal for "
                "the same --dataset; events that were stored before cannot count twice"
            )
        if rows and (begun := self.meta("supersedes")) != supersedes:
            with_it = f"with --supersedes {begun}" if begun else "without --supersedes"
            raise CallerError(f"this import was begun {with_it}: continue it {with_it}, or choose another --dataset")
        self.set_meta("format", _FORMAT)
        self.set_meta("supersedes", supersedes)

    def meta(self, name: str) -> str | None:
        """A property of the import."""
        return meta(self.connection, "main", name)

    def set_meta(self, name: str, value: str) -> None:
        """Store a property of the import."""
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def note(self, rows: Sequence[Row], stored: Collection[tuple[int, str]]) -> None:
        """Record rows. `stored` has the row number and kind of each event that ingest stored."""
        self.connection.execute("BEGIN")
        for row in rows:
            if row.identity is None:
                continue
            facts = [*row.carried, *(event for event in row.events if (row.number, event.kind) in stored)]
            if facts:
                self._add(row.number, row.identity, facts, self.content_of(row))
        self.connection.execute("COMMIT")

    def _add(self, number: int, identity: Identity, facts: Sequence[Event], digest: bytes | None) -> None:
        name = _id_of(facts[0])
        if digest is not None or not self._has(name):
            self.connection.execute(
                "INSERT OR REPLACE INTO detainer VALUES (?, ?, ?, ?, ?, ?)",
                (number, name, identity.full, identity.loose, digest or b"", digest is None),
            )
        self.connection.executemany(
            "INSERT OR REPLACE INTO fact VALUES (?, ?, ?, ?, ?, ?)",
            [
                (
                    number, one.kind, _id_of(one), one.data["version"], one.data.get("withdrawn") is True,
                    json.dumps(one.data, separators=(",", ":")),
                )
                for one in facts
            ],
        )  # fmt: skip

    def _has(self, detainer_id: bytes) -> bool:
        found = self.connection.execute("SELECT 1 FROM detainer WHERE detainer_id = ?", (detainer_id,))
        return found.fetchone() is not None

    def sort(self) -> None:
        """Make the facts of a detainer quick to find."""
        self.connection.executescript(_SORTED)

    def finish(self) -> None:
        """Note that every row of the file is in the index, so that a later release may supersede it."""
        self.sort()
        self.set_meta("finished", "1")

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


def meta(connection: sqlite3.Connection, schema: str, name: str) -> str | None:
    """A property of the import whose index is attached as `schema`."""
    row = connection.execute(f"SELECT value FROM {schema}.meta WHERE name = ?", (name,)).fetchone()  # noqa: S608
    return None if row is None else str(row[0])


def superseded_by(path: Path) -> str | None:
    """The data set that supersedes the import of this index."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", isolation_level=None, uri=True)
    try:
        return meta(connection, "main", "superseded_by")
    finally:
        connection.close()


def claim(path: Path, dataset: str) -> None:
    """Note in the index of an earlier release that `dataset` supersedes it, so that no other data set does."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('superseded_by', ?)", (dataset,))
    finally:
        connection.close()


def content(events: Iterable[Event]) -> bytes:
    """The digest of the content of events, without identity and version."""
    said = [
        (event.kind, sorted((key, value) for key, value in event.data.items() if key not in ("detainer_id", "version")))
        for event in events
    ]
    return hashlib.blake2b(msgspec.json.encode(said), digest_size=16).digest()


def _id_of(fact: Event) -> bytes:
    return UUID(str(fact.data["detainer_id"])).bytes
