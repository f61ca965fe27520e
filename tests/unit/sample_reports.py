"""SnapshotReader and reports for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from schemas.detainer import Kind
from schemas.log import Partition, Vector
from schemas.report import Report
from schemas.week import ReportingCalendar
from services.publisher import report as reporting
from services.publisher.inputs import ReportInputs, current
from services.publisher.report import RevisionMetadata, Snapshot
from services.runtime import agencies
from services.runtime.agencies import Agencies

CALENDAR = ReportingCalendar(ZoneInfo("America/New_York"))
WEEK = CALENDAR.week(date(2017, 1, 28))
VECTOR = Vector({Partition("detainer-issued", 0): 7, Partition("detainer-declined", 0): 3})


@dataclass(frozen=True)
class Declined:
    """One decline in a snapshot."""

    offenses: Sequence[str] | None = ()
    reason: str | None = "policy"
    citizenship: str | None = "MEX"
    jurisdiction: str = "32003"
    issued_at: datetime = datetime(2017, 1, 20, 12, tzinfo=UTC)
    declined_at: datetime = datetime(2017, 1, 29, 12, tzinfo=UTC)
    recorded_at: datetime = datetime(2017, 1, 30, 13, tzinfo=UTC)


def listed(*rows: tuple[str, str, str]) -> Agencies:
    """Agencies from tuples of name, kinds and jurisdictions; kinds and jurisdictions are separated by blanks."""
    tables = []
    for name, kinds, jurisdictions in rows:
        key = hashlib.sha256(name.encode()).hexdigest()
        tables.append(
            f'[[agency]]\nname = "{name}"\nkey_sha256 = ["{key}"]\n'
            f"kinds = {kinds.split()}\njurisdictions = {jurisdictions.split()}\n"
        )
    return agencies.parse("\n".join(tables).encode())


EVERYWHERE = listed(("everywhere", "issued declined", "*"))


def report_inputs(known: Agencies = EVERYWHERE, *, notes: tuple[str, ...] = ()) -> ReportInputs:
    """Inputs with these agencies. With notes, they are those of a demonstration."""
    return current(CALENDAR, known, demonstration=bool(notes), notes=list(notes))


def snapshot(
    issued: Mapping[str, int] | None = None,
    declined: Mapping[str, int] | None = None,
    *,
    heard: Mapping[tuple[str, Kind], int] | None = None,
    attested: Mapping[tuple[str, Kind], int] | None = None,
    forms: Mapping[str | None, int] | None = None,
    declines: Sequence[Declined] = (),
    withdrawn: int = 0,
    rejected: int = 0,
) -> Snapshot:
    """A snapshot with these counters. By default, every agency was heard."""
    counters = {(code, Kind.ISSUED): n for code, n in (issued or {}).items()}
    counters |= {(code, Kind.DECLINED): n for code, n in (declined or {}).items()}
    return Snapshot(
        vector=VECTOR,
        counters=counters,
        heard={("everywhere", Kind.ISSUED): 1} if heard is None else heard,
        attested=attested or {},
        forms=forms or {},
        declines=declines,
        withdrawn=withdrawn,
        rejected_records=rejected,
    )


def report(seen: Snapshot, used: ReportInputs | None = None, revision: int = 1, previous: str | None = None) -> Report:
    """The report of the sample week."""
    return reporting.build(
        reporting.draft(WEEK, seen, used or report_inputs()), RevisionMetadata(revision, "initial", previous)
    )
