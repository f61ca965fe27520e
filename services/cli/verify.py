"""`ddor verify WEEK[@REVISION]`: make a report again from the log and compare it with the published one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from schemas.log import RecordAddress, Vector
from schemas.report import Change, Figures, JurisdictionRow, Policy, Report, Tables
from schemas.week import ReportingCalendar, ReportingWeek, Weekday
from services.aggregator.transaction import transaction
from services.cli import verify_announcement, verify_inputs, verify_replay, verify_site
from services.cli.console import FAILED, err, out, run
from services.cli.queries import SQL as CLI_SQL
from services.cli.verify_document import CHAIN, DERIVED, NoSuchReportError, check_digests, figures_of, offline
from services.cli.verify_findings import Findings, differences
from services.cli.weeks import week_of
from services.publisher import gates, report, restating
from services.publisher.inputs import ReportInputs
from services.publisher.line_list import StoredList
from services.publisher.queries import SQL
from services.publisher.snapshot import SnapshotReader, stored_lists
from services.runtime import calendar, kafka, postgres, settings, zones
from services.runtime.settings import Settings


def verify(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WEEK[@REVISION]",
            help="First day of a week, such as 2017-01-28, or 2017-01-28@1 for its first revision. Default: the newest"
            " report.",
        ),
    ] = "",
    against: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            help="Check the digests of this downloaded report (.json) instead, without Kafka and PostgreSQL. Or, of a"
            " directory that 'ddor site' wrote, the digests of all revisions and their chain.",
        ),
    ] = None,
    previous: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="With --against: the report before it (.json), to check the chain of digests.",
        ),
    ] = None,
) -> None:
    """Count the log again up to the offsets in a report, and compare every figure, digest and input.

    Example: ddor verify 2017-01-28@1

    It reads the whole log and writes to a scratch schema in PostgreSQL, which it drops at the end.

    Exit codes:

    - 0: the report is right
    - 1: there are differences, which are printed
    - 2: the report cannot be verified
    """
    if against is None:
        run(_verify(what))
    elif against.is_dir():
        run(verify_site.check(against))
    else:
        run(offline(against, previous))


async def _verify(what: str) -> int:
    loaded = settings.load()
    name, _, number = what.partition("@")
    first_day = week_of(name, loaded) if name else None
    if number and not re.fullmatch("[0-9]{1,6}", number):
        raise NoSuchReportError(f"{what}: write the revision as a number, as in {name or '2017-01-28'}@1")
    connection = await postgres.connect(loaded, "ddor-verify")
    findings = Findings()
    try:
        await calendar.check(connection, loaded.calendar)
        row = await connection.fetchrow(SQL["report"], first_day, int(number) if number else None)
        if row is None:
            raise NoSuchReportError(f"there is no report {what}" if what else "there is no report yet")
        week = row["week"]
        document: dict[str, Any] = row["figures"]
        if document.get("recovered"):
            raise NoSuchReportError(
                f"{week}@{row['revision']} was recovered and has no inputs, so it cannot be verified"
            )
        out.print(f"{week} revision {row['revision']}, digest {document['digest']}", highlight=False, soft_wrap=True)
        await verify_announcement.check(connection, loaded, row, findings)
        context = await _check_stored(connection, row, findings)
        inputs = await verify_inputs.read(connection, document, findings)
    finally:
        await connection.close()
    if inputs is not None:
        try:
            await _check_replay(loaded, document, inputs, context, findings)
        except verify_replay.LogTooShortError as error:
            if not findings.differ:
                _print_replaced(context.replaced)
                raise
            findings.note(False, "replay", str(error))
    if not findings.differ:
        await verify_replay.note_right(loaded, week)
    _print_replaced(context.replaced if findings.differ else ())
    return FAILED if findings.differ else 0


def _print_replaced(replaced: Iterable[asyncpg.Record]) -> None:
    for gone in replaced:
        on = gone["replaced_at"].date()
        err.print(
            f"{gone['partition']}: the log was replaced on {on}; records counted from the old log cannot be replayed"
        )


@dataclass(frozen=True, slots=True)
class ReplayContext:
    """What a replay needs besides the log: the revision before, earlier line lists, and facts about single records.

    `knew` are the vectors of the week's first report and of the revision before, in offsets of the current logs; empty
    for the first revision. `failed` are records that were rejected because of an internal error. `redriven` are rejects
    that were sent again. `replaced` are partitions whose earlier log no longer exists.
    """

    former: dict[str, Any]
    knew: Sequence[Vector]
    lists: list[StoredList] | None
    failed: Collection[RecordAddress]
    redriven: Sequence[asyncpg.Record]
    replaced: Sequence[asyncpg.Record]


async def _check_stored(connection: asyncpg.Connection[Any], row: asyncpg.Record, findings: Findings) -> ReplayContext:
    """Check digests, chain, changes and line list in the database."""
    week, revision, document = row["week"], row["revision"], row["figures"]
    check_digests(document, findings)
    findings.check(row["digest"] == document["digest"], "table report", "has the same digest", "has another digest")
    await _check_chain(connection, row["digest"], document["previous_digest"], findings)
    former: dict[str, Any] = {}
    if revision > 1:
        before = await connection.fetchrow(SQL["report"], week, revision - 1)
        former = before["figures"] if before else {}
        _check_changes(former, document, findings)
    lists = await _check_list(connection, week, revision, document, findings)
    knew = [Vector.from_json(row["offsets"]) for row in await connection.fetch(CLI_SQL["knew"], week, revision)]
    failed = await verify_replay.failed(connection)
    redriven, replaced = await connection.fetch(CLI_SQL["redriven"]), await connection.fetch(CLI_SQL["replaced_logs"])
    return ReplayContext(former, knew, lists, failed, redriven, replaced)


async def _check_chain(
    connection: asyncpg.Connection[Any], digest: str, previous: str | None, findings: Findings
) -> None:
    before = await connection.fetchval(SQL["digest_before"], digest)
    findings.check(before == previous, "chain", *CHAIN)


def _check_changes(former: dict[str, Any], document: dict[str, Any], findings: Findings) -> None:
    """The listed changes must be the differences from the revision before, and their causes must sum to them."""
    if not former.get("jurisdictions"):
        findings.note(
            "recovered" in former, "changes", "not checked: the revision before was recovered without its jurisdictions"
        )
        return
    parsed = Report.model_validate({name: value for name, value in document.items() if name != "digest"})
    rows = _rows(former["jurisdictions"])
    causes: dict[restating.Cell, dict[str, int]] = {(one.geoid, one.kind): one.causes for one in parsed.changes}
    found = restating.changes(rows, parsed.jurisdictions, causes)
    cells = "exactly the cells that differ from the revision before"
    findings.check(found == parsed.changes, "changes", f"list {cells}", f"do not list {cells}")
    are_explained = not restating.unexplained(parsed.changes)
    findings.check(are_explained, "causes", "sum to each cell's difference", "do not sum to each cell's difference")
    if "tables" in former:
        tables = restating.table_changes(Tables.model_validate(former["tables"]), parsed.tables)
        are_listed = tables == parsed.table_changes
        findings.check(
            are_listed, "table changes", "list exactly the rows that differ", "do not list the rows that differ"
        )


async def _check_list(
    connection: asyncpg.Connection[Any], week: date, revision: int, document: dict[str, Any], findings: Findings
) -> list[StoredList] | None:
    """The line list must have its digest or be withdrawn. Returns the earlier lists, or None if they are unknown."""
    rows = [one for one in await connection.fetch(SQL["line_lists"], week) if one["revision"] <= revision]
    if named := document.get("line_list"):
        stored = [one for one in rows if one["sha256"] == named["sha256"]]
        if any(one["content"] is None for one in stored):
            findings.note(True, "line list", f"withdrawn by {stored[0]['withdrawn_by']}; only its digest is compared")
        else:
            right = bool(stored) and all(hashlib.sha256(one["content"]).hexdigest() == one["sha256"] for one in stored)
            findings.check(right, "line list", "matches its digest", "does not match its digest")
    if await connection.fetchval(SQL["was_recovered"], week, revision):
        return None
    return stored_lists(one for one in rows if one["revision"] < revision or one["content"] is None)


async def _check_replay(
    loaded: Settings, document: dict[str, Any], inputs: ReportInputs, context: ReplayContext, findings: Findings
) -> None:
    calendar = ReportingCalendar(zones.zone(inputs.zone), Weekday[inputs.first_day])
    week = calendar.week(date.fromisoformat(document["week_start"]))
    vector = Vector.from_json(document["offsets"])
    total = sum(vector.values())
    columns = (TextColumn("replaying the log"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with verify_replay.scratch(loaded) as connection:
        with Progress(*columns, console=err) as progress:
            task = progress.add_task("", total=total)
            client = kafka.client(loaded, "ddor-verify")
            await verify_replay.replay(
                connection, client, vector, calendar, context.failed,
                stages=context.knew, counted=lambda n: progress.advance(task, n),
            )  # fmt: skip
        for row in context.redriven:
            await connection.execute(CLI_SQL["mark_redriven"], *row)
        async with transaction(connection, "repeatable_read"):
            snapshots = SnapshotReader(connection)
            reached, _ = await snapshots.vector()
            await snapshots.prove(week.first)
            snapshot = replace(await snapshots.read(week.first, reached), lists=context.lists)
            rows = context.former.get("jurisdictions")
            changed = await snapshots.changed(week.first, context.knew[-1]) if rows else []
            first = context.knew[0] if context.knew else None
            late = 0 if first is None else restating.late(week.first, await snapshots.changed(week.first, first), first)
            limits = inputs.thresholds
            evidence = await snapshots.evidence(week, snapshot, {}, timedelta(days=limits.old_days))
    again = _made_again(week, snapshot, inputs, document, context)
    scope = report.build_scope(week, snapshot, inputs, late)
    published, recounted = _derived(document), again.model_dump(mode="json") | {"scope": scope.model_dump(mode="json")}
    recounted["scope"]["audited_at"] = published["scope"]["audited_at"]  # not on the log
    recounted |= _policies(report.listed_policies(week, inputs))
    if not context.former:  # gates do not check restatements
        published["flags"] = [one for one in document["flags"] if one["gate"] in gates.OF_THE_LOG]
        found = gates.flags(evidence, limits)
        recounted["flags"] = [one.model_dump() for one in found if one.gate in gates.OF_THE_LOG]
    for path, old, new in differences(published, recounted):
        findings.note(False, path, f"report {old}, log {new}")
    is_same = again.digest == document["figures_digest"]
    findings.check(is_same, "replay", f"{total:,} offsets give the figures digest", "gives another figures digest")
    if rows:
        why = restating.causes(week.first, changed, context.knew[-1])
        _compare_causes(restating.changes(_rows(rows), again.jurisdictions, why), document, findings)


def _made_again(
    week: ReportingWeek,
    snapshot: report.Snapshot,
    inputs: ReportInputs,
    document: dict[str, Any],
    context: ReplayContext,
) -> Figures:
    again = report.draft(week, snapshot, inputs).figures
    if any(one.content is None for one in context.lists or ()):
        # A withdrawn list, and what depended on it, cannot be made again: compare only its digest.
        return again.model_copy(update={"line_list": Figures.model_validate(figures_of(document)).line_list})
    return again


def _compare_causes(found: list[Change], document: dict[str, Any], findings: Findings) -> None:
    """Compare the causes with those from the log below this vector and below that of the revision before."""
    again = [one.model_dump(mode="json") for one in found]
    different = differences({"changes": document["changes"]}, {"changes": again})
    for path, old, new in different:
        findings.note(False, path, f"report {old}, log {new}")
    if not different:
        findings.note(True, "causes", "match the log")


def _rows(listed: list[dict[str, Any]]) -> list[JurisdictionRow]:
    return [JurisdictionRow.model_validate(row) for row in listed]


def _derived(document: dict[str, Any]) -> dict[str, Any]:
    parsed = Report.model_validate({name: value for name, value in document.items() if name != "digest"})
    return parsed.model_dump(mode="json", include={*DERIVED, "scope", "policies", "jurisdictions_with_policy"})


def _policies(listed: list[Policy] | None) -> dict[str, Any]:
    if listed is None:
        return {}
    return {"policies": [one.model_dump(mode="json") for one in listed], "jurisdictions_with_policy": len(listed)}
