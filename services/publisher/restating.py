"""Computes the changes between two revisions and the cause of each. Pure.

The numbers of a cell differ by the facts that arrived or changed between the two vectors. For each identity, the fact
that counted below the earlier vector is compared with the fact that counts now. Each difference has one cause, and the
causes of a cell sum to its difference.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from schemas.log import Partition, Vector
from schemas.report import Change, JurisdictionRow, TableChange, Tables

CAUSES = ("late", "redriven", "withdrawn", "reassigned", "amended")


@dataclass(frozen=True, slots=True)
class Version:
    """One fact of an identity, with the fields that decide where it counts."""

    kind: str
    version: int
    fingerprint: bytes
    week: date
    jurisdiction: str
    withdrawn: bool
    partition: Partition
    offset: int
    redriven: bool

    @property
    def rank(self) -> tuple[int, bytes]:
        """The fact with the highest rank counts."""
        return self.version, self.fingerprint

    def is_below(self, vector: Vector) -> bool:
        """Whether a report with this vector includes the record of the fact."""
        return vector.covers(self.partition, self.offset)


Cell = tuple[str, str]
"""Jurisdiction and kind."""


def causes(week: date, identities: Iterable[Sequence[Version]], before: Vector) -> dict[Cell, Counter[str]]:
    """For each cell of `week`: the change by each cause since the vector `before`."""
    changed: dict[Cell, Counter[str]] = defaultdict(Counter)
    for versions in identities:
        old = max((one for one in versions if one.is_below(before)), key=lambda one: one.rank, default=None)
        new = max(versions, key=lambda one: one.rank)
        was, now = _cell(old, week), _cell(new, week)
        if was == now:
            continue
        cause = _cause(old, new)
        if was is not None:
            changed[was][cause] -= 1
        if now is not None:
            changed[now][cause] += 1
    return changed


def late(week: date, identities: Iterable[Sequence[Version]], first: Vector) -> int:
    """The number of detainers counted in `week` that its first report, with the vector `first`, did not include."""
    return sum(
        _cell(max(versions, key=lambda one: one.rank), week) is not None
        and not any(one.is_below(first) for one in versions)
        for versions in identities
    )


def _cell(fact: Version | None, week: date) -> Cell | None:
    if fact is None or fact.withdrawn or fact.week != week:
        return None
    return fact.jurisdiction, fact.kind


def _cause(old: Version | None, new: Version) -> str:
    if new.redriven:
        return "redriven"
    if old is None:
        return "late"
    if new.withdrawn:
        return "withdrawn"
    if (old.week, old.jurisdiction) != (new.week, new.jurisdiction) and not old.withdrawn:
        return "reassigned"
    return "amended"


def changes(
    old: Sequence[JurisdictionRow], new: Sequence[JurisdictionRow], why: Mapping[Cell, Mapping[str, int]]
) -> list[Change]:
    """The old and the new number of each cell that differs, with its causes.

    If a jurisdiction has no row in one of the revisions, its cells without a number are not changes.
    """
    before, after = _cells(old), _cells(new)
    differing = [
        cell
        for cell in sorted(before.keys() | after.keys())
        if before.get(cell) != after.get(cell)
        and (before.get(cell) or after.get(cell) or (cell in before and cell in after))
    ]
    return [
        Change(
            geoid=geoid,
            kind=kind,
            old=before.get((geoid, kind)),
            new=after.get((geoid, kind)),
            causes={cause: n for cause in CAUSES if (n := why.get((geoid, kind), {}).get(cause, 0))},
        )
        for geoid, kind in differing
    ]


def unexplained(listed: Iterable[Change]) -> list[Change]:
    """The changes whose causes do not sum to the difference; there must be none. Unknown counts as 0."""
    return [one for one in listed if sum(one.causes.values()) != (one.new or 0) - (one.old or 0)]


def table_changes(old: Tables, new: Tables) -> list[TableChange]:
    """The rows of the national tables that differ."""
    before, after = _rows(old), _rows(new)
    return [
        TableChange(table=table, row=row, old=before.get((table, row), 0), new=after.get((table, row), 0))
        for table, row in sorted(before.keys() | after.keys())
        if before.get((table, row), 0) != after.get((table, row), 0)
    ]


def _cells(rows: Sequence[JurisdictionRow]) -> dict[Cell, int | None]:
    return {
        (row.geoid, kind): number
        for row in rows
        for kind, number in (("issued", row.issued), ("declined", row.declined))
    }


def _rows(tables: Tables) -> dict[tuple[str, str], int]:
    rows = {("offenses", f"{row.category} {row.basis}"): row.n for row in tables.offenses}
    for name in ("citizenship", "reasons", "forms"):
        rows |= {(name, row.code): row.n for row in getattr(tables, name)}
    return rows | {
        ("offenses", "not known"): tables.offenses_not_known,
        ("offenses", "none recorded"): tables.offenses_none_recorded,
        ("forms", "requests for notification"): tables.requests_for_notification,
    }
