"""What changed between two revisions, and why. Pure.

A cell's old and new numbers differ by facts that came or changed in between. Each identity is compared as it was below
the former vector and as it is now; what it took from a cell and what it added have one cause each, and the causes of a
cell sum to its difference.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from schemas.report import Change, JurisdictionRow, TableChange, Tables
from services.publisher.closing import Offsets

CAUSES = ("late", "redriven", "withdrawn", "reassigned", "amended")


@dataclass(frozen=True, slots=True)
class Version:
    """One fact of an identity, as far as counting goes."""

    kind: str
    version: int
    fingerprint: bytes
    week: date
    jurisdiction: str
    withdrawn: bool
    partition: int
    offset: int
    redriven: bool

    @property
    def rank(self) -> tuple[int, bytes]:
        """The highest rank is the fact that counts."""
        return self.version, self.fingerprint

    def is_below(self, vector: Offsets) -> bool:
        """Whether a report with this vector knew the fact."""
        return self.offset < vector.get(f"detainer-{self.kind}", {}).get(str(self.partition), 0)


Cell = tuple[str, str]
"""Jurisdiction and kind."""


def causes(week: date, identities: Iterable[Sequence[Version]], before: Offsets) -> dict[Cell, Counter[str]]:
    """For each cell of `week`, by how much each cause changed it since the vector `before`."""
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


def late(week: date, identities: Iterable[Sequence[Version]], first: Offsets) -> int:
    """How many detainers count in `week` of which its first report, with the vector `first`, knew nothing."""
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
    """Old and new number of each cell that differs, with its causes.

    A jurisdiction that was in no row before, or is in none now, says nothing with the cell that has no number.
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
    """Changes whose causes do not sum to the difference: there must be none. Unknown counts as nothing."""
    return [one for one in listed if sum(one.causes.values()) != (one.new or 0) - (one.old or 0)]


def table_changes(old: Tables, new: Tables) -> list[TableChange]:
    """Rows of the national tables that differ."""
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
