"""From what one snapshot of the database says to the report's document. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from schemas.detainer import Kind
from schemas.report import (
    AgencyScope,
    Cause,
    Change,
    Figures,
    Flag,
    JurisdictionRow,
    OffenseRow,
    Report,
    Scope,
    SignOff,
    TableChange,
    TableRow,
    Tables,
    Totals,
)
from schemas.week import ReportingWeek
from services.publisher import line_list
from services.publisher.closing import Offsets
from services.publisher.line_list import Kept
from services.publisher.rules import Rules, Sender, Table

TOP = 10
_BASES: tuple[Literal["charged"], Literal["convicted"]] = ("charged", "convicted")


class Decline(line_list.Decline, Protocol):
    """Details of one declined detainer that counts in the week."""

    @property
    def recorded_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read for one week in one transaction, up to `vector`.

    `heard` counts each agency's facts, `attested` is how many it says there are. `lists` are the line lists that were
    made of the week, None when that is not known any more.
    """

    vector: Offsets
    counters: Mapping[tuple[str, Kind], int]
    heard: Mapping[tuple[str, Kind], int]
    attested: Mapping[tuple[str, Kind], int]
    forms: Mapping[str | None, int]
    declines: Sequence[Decline]
    withdrawn: int
    rejected_records: int
    lists: Sequence[Kept] | None = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands beside the figures: the number, why it was made, what gates found and who released it.

    `late` is how many detainers are counted of which the week's first report knew nothing.
    """

    revision: int
    cause: Cause
    previous_digest: str | None
    reason: str | None = None
    flags: tuple[Flag, ...] = ()
    sign_offs: tuple[SignOff, ...] = ()
    changes: tuple[Change, ...] = ()
    table_changes: tuple[TableChange, ...] = ()
    late: int = 0


@dataclass(frozen=True, slots=True)
class Draft:
    """The figures of one week and what they were built from, before it is known whether a revision is due."""

    week: ReportingWeek
    snapshot: Snapshot
    rules: Rules
    figures: Figures


def draft(week: ReportingWeek, snapshot: Snapshot, rules: Rules) -> Draft:
    """Count what was read."""
    return Draft(week, snapshot, rules, build_figures(week, snapshot, rules))


def build(made: Draft, standing: Standing) -> Report:
    """The document of one revision."""
    week, snapshot, rules, figures = made.week, made.snapshot, made.rules, made.figures
    return Report(
        **figures.model_dump(),
        week_start=week.first,
        week_end=week.last,
        zone=rules.zone,
        revision=standing.revision,
        cause=standing.cause,
        demonstration=rules.demonstration,
        notes=list(rules.notes),
        scope=build_scope(week, snapshot, rules, standing.late),
        flags=list(standing.flags),
        sign_offs=list(standing.sign_offs),
        reason=standing.reason,
        changes=list(standing.changes),
        table_changes=list(standing.table_changes),
        retractions=-sum(one.causes.get("withdrawn", 0) for one in standing.changes),
        offsets={topic: dict(partitions) for topic, partitions in snapshot.vector.items()},
        inputs=rules.digests,
        figures_digest=figures.digest,
        previous_digest=standing.previous_digest,
    )


def made_list(snapshot: Snapshot, rules: Rules) -> Kept | None:
    """The line list that stands with the figures."""
    return line_list.make(snapshot.declines, rules, snapshot.lists)


def build_figures(week: ReportingWeek, snapshot: Snapshot, rules: Rules) -> Figures:
    """All that was counted."""
    answering = [agency for agency in rules.agencies if agency.answers_in(week)]
    speaking = {(agency, kind) for agency, _ in snapshot.heard for kind in Kind} | snapshot.attested.keys()
    rows = sorted(
        (_row(code, snapshot.counters, rules, answering, speaking) for code in {code for code, _ in snapshot.counters}),
        key=lambda row: (-(row.declined or 0), -(row.issued or 0), row.geoid),
    )
    declining = [row for row in rows if row.declined]
    top = declining[:TOP]
    listed = made_list(snapshot, rules)
    tied = sum(row.declined == top[-1].declined for row in declining[TOP:]) if len(top) == TOP else 0
    return Figures(
        totals=Totals(issued=_total(snapshot, Kind.ISSUED), declined=_total(snapshot, Kind.DECLINED)),
        top=top,
        top_declined=sum(row.declined or 0 for row in top),
        tied_at_tenth=tied,
        jurisdictions=rows,
        tables=_tables(snapshot, rules),
        line_list=line_list.part(listed, rules) if listed else None,
    )


def _total(snapshot: Snapshot, kind: Kind) -> int:
    return sum(n for (_, counted), n in snapshot.counters.items() if counted == kind)


def _row(
    code: str,
    counters: Mapping[tuple[str, Kind], int],
    rules: Rules,
    answering: Sequence[Sender],
    speaking: Set[tuple[str, Kind]],
) -> JurisdictionRow:
    """Nothing counted is 0 where each agency that answers was heard this week or attested that kind, else unknown."""
    name, state = rules.places[code]

    def count(kind: Kind) -> int | None:
        if n := counters.get((code, kind)):
            return n
        asked = [agency for agency in answering if agency.covers(kind, code)]
        return 0 if asked and all((agency.name, kind) in speaking for agency in asked) else None

    return JurisdictionRow(geoid=code, name=name, state=state, issued=count(Kind.ISSUED), declined=count(Kind.DECLINED))


def _tables(snapshot: Snapshot, rules: Rules) -> Tables:
    declines = snapshot.declines
    offenses = Counter(offense for one in declines for offense in one.offenses or ())
    forms = rules.tables["forms"]
    return Tables(
        offenses=[
            OffenseRow(category=code, name=row["name"], basis=basis, n=n)
            for code, row in sorted(rules.tables["offenses"].items())
            for basis in _BASES
            if (n := offenses[f"{code}:{basis}"])
        ],
        offenses_not_known=sum(one.offenses is None for one in declines),
        offenses_none_recorded=sum(one.offenses is not None and not one.offenses for one in declines),
        citizenship=_one_way(rules.tables["countries"], Counter(one.citizenship for one in declines)),
        reasons=_one_way(rules.tables["reasons"], Counter(one.reason for one in declines)),
        forms=_one_way(forms, Counter(snapshot.forms)),
        requests_for_notification=sum(
            n for form, n in snapshot.forms.items() if form is not None and forms[form]["notification"] == "yes"
        ),
    )


def _one_way(table: Table, counts: Counter[str | None]) -> list[TableRow]:
    """Rows by count, then code; what was not given comes last, with an empty code."""
    missing = counts.pop(None, 0)
    rows = [
        TableRow(code=code, name=table[code]["name"], n=n)
        for code, n in sorted(counts.items(), key=lambda item: (-item[1], item[0] or ""))
        if code is not None
    ]
    return [*rows, TableRow(code="", name="Not given", n=missing)] if missing else rows


def build_scope(week: ReportingWeek, snapshot: Snapshot, rules: Rules, late: int) -> Scope:
    """What the figures rest on."""
    told = {agency for agency, _ in (*snapshot.heard, *snapshot.attested)}
    names = sorted({agency.name for agency in rules.agencies if agency.answers_in(week)} | told)
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
    )


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
