"""Compares a file with an earlier release of it, and amends the earlier release's detainers instead of adding rows.

Rows are matched by digests, in this order, equal ones in the files' order:

1. key and steady attributes, such as the year of birth;
2. key;
3. the key without identifier but with the steady attributes, if both releases have equally many such rows left.

The comparison is in SQLite, in temporary tables: its memory does not grow with the releases.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import get_args
from uuid import UUID, uuid5

from services.importer import amending
from services.importer.amending import Facts
from services.importer.index import Index, claim, content, meta
from services.importer.rows import Event, Identity, Kind, NotThisFileError, Row
from services.runtime.errors import CallerError

_PIECE = 5_000
_TABLES = """
CREATE TEMP TABLE plan (
    number INTEGER PRIMARY KEY, computed BLOB NOT NULL, "full" BLOB NOT NULL, loose BLOB NOT NULL, content BLOB NOT NULL
);
CREATE TEMP TABLE matched (number INTEGER PRIMARY KEY, earlier INTEGER NOT NULL UNIQUE);
"""
_MATCH = """
INSERT INTO matched
SELECT later.number, earlier.number
FROM (
    SELECT number, {key}, row_number() OVER (PARTITION BY {key} ORDER BY number) AS rank,
           count(*) OVER (PARTITION BY {key}) AS many
    FROM plan WHERE number NOT IN (SELECT number FROM matched)
) AS later
JOIN (
    SELECT number, {key}, row_number() OVER (PARTITION BY {key} ORDER BY gone, number) AS rank,
           count(*) OVER (PARTITION BY {key}) AS many
    FROM earlier.detainer WHERE number NOT IN (SELECT earlier FROM matched) {only}
) AS earlier USING ({using})
"""
_STEPS = (
    {"key": '"full", loose', "using": '"full", loose, rank', "only": ""},
    {"key": '"full"', "using": '"full", rank', "only": ""},
    {"key": "loose", "using": "loose, rank, many", "only": "AND gone = 0"},
)
_OVERLAP = """
SELECT
    (SELECT count(*) FROM matched JOIN earlier.detainer AS d ON d.number = matched.earlier WHERE gone = 0),
    (SELECT count(*) FROM earlier.detainer WHERE gone = 0 AND number NOT IN (SELECT earlier FROM matched)),
    (SELECT count(*) FROM plan LEFT JOIN matched USING (number) LEFT JOIN earlier.detainer AS d ON d.number = earlier
     WHERE COALESCE(gone, 1) = 1),
    (SELECT count(*) FROM matched JOIN plan USING (number) JOIN earlier.detainer AS d ON d.number = matched.earlier
     WHERE gone = 0 AND d.content <> plan.content)
"""
_NEWEST = """
NOT EXISTS (
    SELECT 1 FROM earlier.fact AS other
    WHERE other.detainer_id = f.detainer_id AND other.kind = f.kind AND other.version > f.version
)
"""
_GONE = f"""
CREATE TEMP TABLE gone AS SELECT f.detainer_id FROM earlier.fact AS f
WHERE {_NEWEST} AND NOT f.withdrawn AND NOT EXISTS (
    SELECT 1 FROM main.fact AS now
    WHERE now.detainer_id = f.detainer_id AND now.kind = f.kind AND now.number <= {{rows}}
)
GROUP BY f.detainer_id ORDER BY min(f.number)
"""  # noqa: S608  # the texts are of this module
_KEEP_FACTS = f"""
INSERT INTO main.fact
SELECT :rows + row_number() OVER (ORDER BY number, kind), kind, detainer_id, version, withdrawn, data
FROM earlier.fact AS f WHERE {_NEWEST} AND NOT EXISTS (
    SELECT 1 FROM main.fact AS now WHERE now.detainer_id = f.detainer_id AND now.kind = f.kind
)
"""  # noqa: S608
_KEEP_DETAINERS = """
INSERT INTO main.detainer
SELECT :rows + row_number() OVER (ORDER BY number), detainer_id, "full", loose, x'', 1 FROM earlier.detainer AS d
WHERE NOT EXISTS (SELECT 1 FROM main.detainer AS now WHERE now.detainer_id = d.detainer_id)
"""
_SHARED = """
SELECT count(*) FROM plan WHERE "full" IN (SELECT "full" FROM earlier.detainer WHERE gone = 0)
    OR loose IN (SELECT loose FROM earlier.detainer WHERE gone = 0)
"""


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many rows two releases have in common. `changed` are rows of both with something to send."""

    both: int
    only_earlier: int
    only_later: int
    changed: int


class Superseding:
    """The comparison of one import with the import of an earlier release.

    Call `compare` for each piece of the file, then `match`; then `rows` and `gone` give what to send.
    """

    def __init__(self, index: Index, earlier: Path, dataset: str) -> None:
        """`earlier` is the earlier import's index, `dataset` this import's data set.

        Raises CallerError if the earlier import is not finished, or superseded by another data set.
        """
        self._index = index
        self._connection = index.connection
        self._earlier = earlier
        self._dataset = dataset
        self._rows = 0
        _attach(index, earlier)
        if meta(self._connection, "earlier", "finished") is None:
            raise CallerError(f"the import in {earlier.parent} is not finished: run its command again first")
        by = meta(self._connection, "earlier", "superseded_by")
        if by not in (None, dataset):
            raise CallerError(f"the import in {earlier.parent} is superseded by {by} already: supersede {by} instead")
        index.content_of = self._content_of

    def compare(self, rows: Iterable[Row]) -> Iterator[int]:
        """Read all rows of the file. Yields their number in pieces."""
        yield from plan(self._index, rows)

    def match(self) -> Overlap:
        """Match the rows of the two releases. Nothing may be sent before the result is reported."""
        for step in _STEPS:
            self._connection.execute(_MATCH.format(**step))
        return Overlap(*self._connection.execute(_OVERLAP).fetchone())

    def claim(self) -> None:
        """Note in the earlier index that this data set supersedes it, so that no other one does."""
        claim(self._earlier, self._dataset)

    def rows(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows of the file, amended."""
        for row in rows:
            self._rows = row.number
            yield row if row.identity is None else self._amended(row, row.identity)

    def gone(self, part: str) -> Iterator[Row]:
        """A row for each detainer with a fact that the later release lacks. Call it when all `rows` are in the journal.

        `part` names the group of these rows.
        """
        self._index.sort()
        return self._gone(self._rows, part)

    def finish(self, rows: int) -> None:
        """Keep what the earlier index has and this one does not, for the next release. `rows` are in the journal."""
        self._index.sort()
        for statement in (_KEEP_FACTS, _KEEP_DETAINERS):
            self._connection.execute(statement, {"rows": rows})

    def _amended(self, row: Row, identity: Identity) -> Row:
        found = self._connection.execute(
            "SELECT computed, d.detainer_id FROM plan LEFT JOIN matched USING (number)"
            " LEFT JOIN earlier.detainer AS d ON d.number = matched.earlier WHERE plan.number = ?",
            (row.number,),
        ).fetchone()
        if found is None or found[0] != UUID(identity.detainer_id).bytes:
            raise NotThisFileError("the file has changed while it was read; run the command again")
        if found[1] is not None:
            return amending.amend(row, str(UUID(bytes=found[1])), self._facts(found[1]))
        return amending.amend(row, self._unused(identity.detainer_id), {})

    def _unused(self, name: str) -> str:
        """`name`, or a name made of it if a row of the earlier release has the identity `name` and is not this row."""
        known = "SELECT 1 FROM earlier.detainer WHERE detainer_id = ?"
        while self._connection.execute(known, (UUID(name).bytes,)).fetchone():
            name = str(uuid5(UUID(name), "another"))
        return name

    def _facts(self, detainer_id: bytes) -> Facts:
        found = self._connection.execute(
            "SELECT kind, data FROM earlier.fact WHERE detainer_id = ? ORDER BY version", (detainer_id,)
        )
        return {event.kind: event for event in (_event(kind, data) for kind, data in found)}

    def _gone(self, number: int, part: str) -> Iterator[Row]:
        in_file = number
        self._connection.execute(_GONE.format(rows=in_file))
        place = 0
        while found := self._connection.execute(
            'SELECT gone.rowid, d.detainer_id, "full", loose FROM gone JOIN earlier.detainer AS d USING (detainer_id)'
            " WHERE gone.rowid > ? ORDER BY gone.rowid LIMIT 1",
            (place,),
        ).fetchone():
            place, name, full, loose = found
            number += 1
            stored = self._connection.execute(
                "SELECT kind FROM main.fact WHERE detainer_id = ? AND number <= ?", (name, in_file)
            )
            there = {kind for (kind,) in stored}
            before = {kind: fact for kind, fact in self._facts(name).items() if kind not in there}
            yield amending.gone(number, Identity(str(UUID(bytes=name)), full, loose, 0), before, part)

    def _content_of(self, row: Row) -> bytes | None:
        found = self._connection.execute("SELECT content FROM plan WHERE number = ?", (row.number,)).fetchone()
        return None if found is None else bytes(found[0])


def plan(index: Index, rows: Iterable[Row]) -> Iterator[int]:
    """Read rows into the table `plan`. Yields their number in pieces."""
    index.connection.executescript(_TABLES)
    read = iter(rows)
    while piece := list(islice(read, _PIECE)):
        index.connection.executemany(
            "INSERT INTO plan VALUES (?, ?, ?, ?, ?)",
            [
                (row.number, UUID(one.detainer_id).bytes, one.full, one.loose, content(row.events))
                for row in piece
                if (one := row.identity) is not None
            ],
        )
        yield len(piece)


def _event(kind: str, data: str) -> Event:
    (known,) = (one for one in get_args(Kind) if one == kind)
    return Event(known, json.loads(data))


def shared(index: Index, others: Iterable[Path]) -> Iterator[tuple[Path, int]]:
    """How many rows that were read with `plan` each other index has too, by key or by key and steady attributes."""
    for other in others:
        _attach(index, other)
        (count,) = index.connection.execute(_SHARED).fetchone()
        index.connection.execute("DETACH earlier")
        yield other, count


def _attach(index: Index, other: Path) -> None:
    index.connection.execute("ATTACH ? AS earlier", (f"{other.resolve().as_uri()}?mode=ro",))
