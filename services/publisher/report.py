"""Builds a report from one snapshot of the database. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from schemas.detainer import Kind
from schemas.log import Vector
from schemas.report import (
    AgencyScope,
    Change,
    Figures,
    Flag,
    JurisdictionRow,
    OffenseRow,
    Policy,
    PolicyCode,
    Report,
    RevisionCause,
    Scope,
    SignOff,
    TableChange,
    TableRow,
    Tables,
    Totals,
    figures_digest,
)
from schemas.week import ReportingWeek
from services.publisher import line_list
from services.publisher.inputs import ReportInputs, Sender, Table
from services.publisher.line_list import StoredList

TOP = 10
_BASES: tuple[Literal["charged"], Literal["convicted"]] = ("charged", "convicted")


class Decline(line_list.Decline, Protocol):
    """The details of one declined detainer that counts in the week."""

    @property
    def recorded_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The data of one week, read in one transaction, up to `vector`.

    `heard` is the number of counted facts of each agency, `attested` the number that the agency attests. `lists` are
    the line lists made for the week, oldest first; None if they are unknown after a recovery.
    """

    vector: Vector
    counters: Mapping[tuple[str, Kind], int]
    heard: Mapping[tuple[str, Kind], int]
    attested: Mapping[tuple[str, Kind], int]
    forms: Mapping[str | None, int]
    declines: Sequence[Decline]
    withdrawn: int
    rejected_records: int
    audited_at: datetime | None = None
    lists: Sequence[StoredList] | None = ()


@dataclass(frozen=True, slots=True)
class RevisionMetadata:
    """The fields of a revision besides its figures: number, cause, gate findings, sign-offs and changes.

    `late` is the number of counted detainers that the week's first report did not include.
    """

    revision: int
    revision_cause: RevisionCause
    previous_digest: str | None
    reason: str | None = None
    flags: tuple[Flag, ...] = ()
    sign_offs: tuple[SignOff, ...] = ()
    changes: tuple[Change, ...] = ()
    table_changes: tuple[TableChange, ...] = ()
    late: int = 0


@dataclass(frozen=True, slots=True)
class Draft:
    """The figures of one week with their sources. Whether a revision is due is decided from `digest`.

    `document` is the JSON form of the figures. It and the digest are computed once, here.
    """

    week: ReportingWeek
    snapshot: Snapshot
    inputs: ReportInputs
    line_list: StoredList | None
    figures: Figures
    document: Mapping[str, Any]
    digest: str


def draft(week: ReportingWeek, snapshot: Snapshot, inputs: ReportInputs) -> Draft:
    """Compute the figures of a week."""
    listed = line_list.make(snapshot.declines, inputs, snapshot.lists)
    figures = _figures(week, snapshot, inputs, listed)
    document = figures.model_dump(mode="json")
    return Draft(week, snapshot, inputs, listed, figures, document, figures_digest(document))


def build(made: Draft, metadata: RevisionMetadata) -> Report:
    """Build the report of one revision."""
    week, snapshot, inputs, figures = made.week, made.snapshot, made.inputs, made.figures
    policies = listed_policies(week, inputs)
    return Report(
        **{name: getattr(figures, name) for name in Figures.model_fields},
        week_start=week.first,
        week_end=week.last,
        zone=inputs.zone,
        revision=metadata.revision,
        cause=metadata.revision_cause,
        demonstration=inputs.demonstration,
        notes=list(inputs.notes),
        scope=build_scope(week, snapshot, inputs, metadata.late),
        flags=list(metadata.flags),
        sign_offs=list(metadata.sign_offs),
        reason=metadata.reason,
        changes=list(metadata.changes),
        table_changes=list(metadata.table_changes),
        retractions=-sum(one.causes.get("withdrawn", 0) for one in metadata.changes),
        offsets=snapshot.vector.to_json(),
        policies=policies,
        jurisdictions_with_policy=None if policies is None else len(policies),
        inputs=inputs.digests,
        figures_digest=made.digest,
        previous_digest=metadata.previous_digest,
    )


def _figures(week: ReportingWeek, snapshot: Snapshot, inputs: ReportInputs, listed: StoredList | None) -> Figures:
    agencies = [agency for agency in inputs.agencies if agency.is_valid_in(week)]
    heard = {(agency, kind) for agency, _ in snapshot.heard for kind in Kind} | snapshot.attested.keys()
    rows = sorted(
        (_row(code, snapshot.counters, inputs, agencies, heard) for code in {code for code, _ in snapshot.counters}),
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
        tables=_tables(snapshot, inputs),
        line_list=line_list.part(listed, inputs) if listed else None,
    )


def _total(snapshot: Snapshot, kind: Kind) -> int:
    return sum(n for (_, counted), n in snapshot.counters.items() if counted == kind)


def _row(
    code: str,
    counters: Mapping[tuple[str, Kind], int],
    inputs: ReportInputs,
    agencies: Sequence[Sender],
    heard: Set[tuple[str, Kind]],
) -> JurisdictionRow:
    """The row of a jurisdiction.

    A count of nothing is 0 only if every responsible agency was heard this week or attested that kind; otherwise the
    number is unknown (null).
    """
    name, state = inputs.jurisdictions[code]

    def count(kind: Kind) -> int | None:
        if n := counters.get((code, kind)):
            return n
        responsible = [agency for agency in agencies if agency.covers(kind, code)]
        return 0 if responsible and all((agency.name, kind) in heard for agency in responsible) else None

    return JurisdictionRow(geoid=code, name=name, state=state, issued=count(Kind.ISSUED), declined=count(Kind.DECLINED))


def _tables(snapshot: Snapshot, inputs: ReportInputs) -> Tables:
    declines = snapshot.declines
    offenses = Counter(offense for one in declines for offense in one.offenses or ())
    forms = inputs.tables["forms"]
    return Tables(
        offenses=[
            OffenseRow(category=code, name=row["name"], basis=basis, n=n)
            for code, row in sorted(inputs.tables["offenses"].items())
            for basis in _BASES
            if (n := offenses[f"{code}:{basis}"])
        ],
        offenses_not_known=sum(one.offenses is None for one in declines),
        offenses_none_recorded=sum(one.offenses is not None and not one.offenses for one in declines),
        citizenship=_one_way(inputs.tables["countries"], Counter(one.citizenship for one in declines)),
        reasons=_one_way(inputs.tables["reasons"], Counter(one.reason for one in declines)),
        forms=_one_way(forms, Counter(snapshot.forms)),
        requests_for_notification=sum(
            n for form, n in snapshot.forms.items() if form is not None and forms[form]["notification"] == "yes"
        ),
    )


def _one_way(table: Table, counts: Counter[str | None]) -> list[TableRow]:
    """Rows by count, then code. The row of declines without this field comes last and has an empty code."""
    missing = counts.pop(None, 0)
    rows = [
        TableRow(code=code, name=table[code]["name"], n=n)
        for code, n in sorted(counts.items(), key=lambda item: (-item[1], item[0] or ""))
        if code is not None
    ]
    return [*rows, TableRow(code="", name="Not given", n=missing)] if missing else rows


def build_scope(week: ReportingWeek, snapshot: Snapshot, inputs: ReportInputs, late: int) -> Scope:
    """Build the scope: agencies, withdrawn and late facts, rejected records."""
    reporting = {agency for agency, _ in (*snapshot.heard, *snapshot.attested)}
    names = sorted({agency.name for agency in inputs.agencies if agency.is_valid_in(week)} | reporting)
    oldest = min((one.issued_at for one in snapshot.declines), default=None)
    return Scope(
        agencies=[_agency(name, snapshot) for name in names],
        withdrawn=snapshot.withdrawn,
        late=late,
        rejected_records=snapshot.rejected_records,
        oldest_decline_issued_on=oldest.date() if oldest else None,
        longest_issue_to_record_days=max((_days(one) for one in snapshot.declines), default=None),
        declines_with_one_instant=sum(one.issued_at == one.declined_at == one.recorded_at for one in snapshot.declines),
        counters_equal_ledger=True,
        audited_at=snapshot.audited_at and snapshot.audited_at.replace(microsecond=0),
    )


def listed_policies(week: ReportingWeek, inputs: ReportInputs) -> list[Policy] | None:
    """The policies limiting detainers that are valid on the last day of the week, by code; None without a registry.

    They are not figures: a corrected registry is no reason for a revision.
    """
    known = inputs.policy_registry
    if known is None:
        return None
    return [
        Policy(
            geoid=one.jurisdiction,
            name=inputs.jurisdictions[one.jurisdiction][0],
            state=inputs.jurisdictions[one.jurisdiction][1],
            enacted=one.enacted,
            since=one.valid_from,
            until=one.valid_to,
            honored=[PolicyCode(code=code, name=known.codes[code]) for code in one.honors],
            source=one.source,
        )
        for one in known.valid_on(week.last)
    ]


def _agency(name: str, snapshot: Snapshot) -> AgencyScope:
    counted = {kind: snapshot.heard.get((name, kind), 0) for kind in Kind}
    attested = {kind: snapshot.attested.get((name, kind)) for kind in Kind}
    missing = {kind: None if n is None else n - counted[kind] for kind, n in attested.items()}
    status: Literal["attested", "differing", "heard", "silent"] = "silent"
    if any(n is not None for n in attested.values()):
        status = "differing" if any(missing.values()) else "attested"
    elif any(agency == name for agency, _ in snapshot.heard):
        status = "heard"
    return AgencyScope(
        agency=name,
        status=status,
        issued=counted[Kind.ISSUED],
        declined=counted[Kind.DECLINED],
        attested_issued=attested[Kind.ISSUED],
        attested_declined=attested[Kind.DECLINED],
        missing_issued=missing[Kind.ISSUED],
        missing_declined=missing[Kind.DECLINED],
    )


def _days(one: Decline) -> int:
    return (one.recorded_at - one.issued_at).days
