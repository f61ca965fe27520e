"""From what one snapshot of the database says to the report's document. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

import rfc8785

from schemas import taxonomy
from schemas.acceptance import RULES_VERSION
from schemas.detainer import Kind
from schemas.jurisdiction import registry
from schemas.report import (
    AgencyScope,
    Cause,
    Figures,
    JurisdictionRow,
    OffenseRow,
    Report,
    Scope,
    TableRow,
    Tables,
    Totals,
)
from schemas.taxonomy import Taxonomy
from schemas.week import ReportingCalendar, ReportingWeek
from services.publisher.closing import Offsets
from services.runtime.agencies import Agencies

TOP = 10
_BASES: tuple[Literal["charged"], Literal["convicted"]] = ("charged", "convicted")


class Decline(Protocol):
    """Details of one declined detainer that counts in the week. `offenses` are `category:basis`."""

    @property
    def reason(self) -> str | None: ...
    @property
    def citizenship(self) -> str | None: ...
    @property
    def offenses(self) -> Sequence[str] | None: ...
    @property
    def issued_at(self) -> datetime: ...
    @property
    def declined_at(self) -> datetime: ...
    @property
    def recorded_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read for one week in one transaction, up to `vector`."""

    vector: Offsets
    counters: Mapping[tuple[str, Kind], int]
    heard: Mapping[tuple[str, Kind], int]
    forms: Mapping[str | None, int]
    declines: Sequence[Decline]
    withdrawn: int
    rejected_records: int


@dataclass(frozen=True, slots=True)
class Rules:
    """What the report needs besides the log: who may send, the calendar, and whether this is a demonstration."""

    calendar: ReportingCalendar
    agencies: Agencies
    demonstration: bool
    notes: tuple[str, ...]

    def inputs(self) -> dict[str, bytes]:
        """Each input's content, by name; kept by digest so that a report can be verified when they have changed.

        Of the agencies file only names, kinds, jurisdictions and dates: no digest of a key.
        """
        agencies = [one.model_dump(mode="json", exclude={"key_sha256"}) for one in self.agencies.listed]
        entries = [[one.code, one.name, one.state, one.kind.value, list(one.editions)] for one in registry()]
        calendar = {"zone": self.calendar.zone.key, "starts_on": self.calendar.starts_on.name}
        tables = (taxonomy.offenses(), taxonomy.reasons(), taxonomy.forms(), taxonomy.countries())
        return {
            "agencies": rfc8785.dumps(agencies),
            "calendar": rfc8785.dumps(calendar),
            "jurisdictions": rfc8785.dumps(entries),
            "rules": rfc8785.dumps({"acceptance": RULES_VERSION}),
            **{table.name: rfc8785.dumps({code: dict(table.rows[code]) for code in table}) for table in tables},
        }


def build(
    *,
    week: ReportingWeek,
    snapshot: Snapshot,
    rules: Rules,
    inputs: Mapping[str, str],
    revision: int,
    cause: Cause,
    previous_digest: str | None,
) -> Report:
    """The report of one week. `inputs` are the digests of `rules.inputs()`."""
    figures = build_figures(snapshot, rules.agencies)
    return Report(
        **figures.model_dump(),
        week_start=week.first,
        week_end=week.last,
        zone=rules.calendar.zone.key,
        revision=revision,
        cause=cause,
        demonstration=rules.demonstration,
        notes=list(rules.notes),
        scope=_scope(snapshot, rules.agencies),
        offsets={topic: dict(partitions) for topic, partitions in snapshot.vector.items()},
        inputs=dict(inputs),
        figures_digest=figures.digest,
        previous_digest=previous_digest,
    )


def build_figures(snapshot: Snapshot, agencies: Agencies) -> Figures:
    """All that was counted."""
    heard = {agency for agency, _ in snapshot.heard}
    rows = sorted(
        (_row(code, snapshot.counters, agencies, heard) for code in {code for code, _ in snapshot.counters}),
        key=lambda row: (-(row.declined or 0), -(row.issued or 0), row.geoid),
    )
    declining = [row for row in rows if row.declined]
    top = declining[:TOP]
    tied = sum(row.declined == top[-1].declined for row in declining[TOP:]) if len(top) == TOP else 0
    return Figures(
        totals=Totals(issued=_total(snapshot, Kind.ISSUED), declined=_total(snapshot, Kind.DECLINED)),
        top=top,
        top_declined=sum(row.declined or 0 for row in top),
        tied_at_tenth=tied,
        jurisdictions=rows,
        tables=_tables(snapshot),
    )


def _total(snapshot: Snapshot, kind: Kind) -> int:
    return sum(n for (_, counted), n in snapshot.counters.items() if counted == kind)


def _row(code: str, counters: Mapping[tuple[str, Kind], int], agencies: Agencies, heard: set[str]) -> JurisdictionRow:
    entry = registry().get(code)
    assert entry is not None, "an accepted fact names a jurisdiction of the registry"

    def count(kind: Kind) -> int | None:
        if n := counters.get((code, kind)):
            return n
        answering = agencies.allowed(kind, code)
        return 0 if answering and all(agency.name in heard for agency in answering) else None

    return JurisdictionRow(
        geoid=code, name=entry.name, state=entry.state, issued=count(Kind.ISSUED), declined=count(Kind.DECLINED)
    )


def _tables(snapshot: Snapshot) -> Tables:
    declines = snapshot.declines
    offenses = Counter(offense for one in declines for offense in one.offenses or ())
    forms = taxonomy.forms()
    return Tables(
        offenses=[
            OffenseRow(category=code, name=taxonomy.offenses().label(code), basis=basis, n=n)
            for code in taxonomy.offenses()
            for basis in _BASES
            if (n := offenses[f"{code}:{basis}"])
        ],
        offenses_not_known=sum(one.offenses is None for one in declines),
        offenses_none_recorded=sum(one.offenses is not None and not one.offenses for one in declines),
        citizenship=_one_way(taxonomy.countries(), (one.citizenship for one in declines)),
        reasons=_one_way(taxonomy.reasons(), (one.reason for one in declines)),
        forms=_one_way(forms, (form for form, n in snapshot.forms.items() for _ in range(n))),
        requests_for_notification=sum(
            n for form, n in snapshot.forms.items() if form is not None and forms.rows[form]["notification"] == "yes"
        ),
    )


def _one_way(table: Taxonomy, codes: Iterable[str | None]) -> list[TableRow]:
    """Rows by count, then code; what was not given comes last, with an empty code."""
    counts = Counter(codes)
    missing = counts.pop(None, 0)
    rows = [
        TableRow(code=code, name=table.label(code), n=n)
        for code, n in sorted(counts.items(), key=lambda item: (-item[1], item[0] or ""))
        if code is not None
    ]
    return [*rows, TableRow(code="", name="Not given", n=missing)] if missing else rows


def _scope(snapshot: Snapshot, agencies: Agencies) -> Scope:
    names = sorted({agency.name for agency in agencies.listed} | {agency for agency, _ in snapshot.heard})
    heard = {agency for agency, _ in snapshot.heard}
    oldest = min((one.issued_at for one in snapshot.declines), default=None)
    return Scope(
        agencies=[
            AgencyScope(
                agency=name,
                status="heard" if name in heard else "silent",
                issued=snapshot.heard.get((name, Kind.ISSUED), 0),
                declined=snapshot.heard.get((name, Kind.DECLINED), 0),
            )
            for name in names
        ],
        withdrawn=snapshot.withdrawn,
        rejected_records=snapshot.rejected_records,
        oldest_decline_issued_on=oldest.date() if oldest else None,
        longest_issue_to_record_days=max((_days(one) for one in snapshot.declines), default=None),
        declines_with_one_instant=sum(one.issued_at == one.declined_at == one.recorded_at for one in snapshot.declines),
        counters_equal_ledger=True,
    )


def _days(one: Decline) -> int:
    return (one.recorded_at - one.issued_at).days


def digests(inputs: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 of each input's content, in hex."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in inputs.items()}
