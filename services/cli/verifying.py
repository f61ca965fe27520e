"""`ddor verify WEEK[@REV]`: make a report again from the log and say whether it is the same, and if not, where."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import asyncpg
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from schemas.report import Change, Figures, JurisdictionRow, Report, Tables, sha256_of
from schemas.week import ReportingCalendar, ReportingWeek, Weekday
from services.aggregator.transaction import transaction
from services.cli import kept_inputs, replaying
from services.cli.findings import Findings, differences
from services.cli.places import Place
from services.cli.releasing import week_of
from services.cli.resuming import SQL as CLI_SQL
from services.cli.terminal import FAILED, err, out, run
from services.publisher import gates, recovery, report, restating
from services.publisher.closing import Offsets
from services.publisher.line_list import Kept
from services.publisher.rules import Rules
from services.publisher.snapshot import SQL, Snapshots, kept_lists
from services.runtime import calendar, kafka, postgres, settings
from services.runtime.errors import CallerError
from services.runtime.settings import Settings

_DERIVED = ("top", "top_declined", "tied_at_tenth", "totals", "jurisdictions", "tables", "line_list")


class NoSuchReportError(CallerError):
    """There is no report of this week and revision."""


def verify(
    what: Annotated[str, typer.Argument(help="WEEK or WEEK@REVISION; the newest revision if none.")] = "",
    against: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A downloaded report (JSON): offline."),
    ] = None,
    previous: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="With --against: the report before it."),
    ] = None,
) -> None:
    """Replay the log up to the offsets that a report names, and compare every figure, digest and input.

    Exit code 0: the same; 1: something differs, and it is named; 2: it cannot be verified, and why.
    """
    run(_verify(what) if against is None else _offline(against, previous))


async def _offline(file: Path, previous: Path | None) -> int:
    findings = Findings()
    document = _read(file)
    _check_digests(document, findings)
    if previous is not None:
        before = _read(previous)
        _check_digests(before, findings)
        findings.note(document["previous_digest"] == before["digest"], "chain", "names the digest of the report before")
    return FAILED if findings.differ else 0


def _read(file: Path) -> dict[str, Any]:
    """A report as it was downloaded; NoSuchReportError when the file is none."""
    try:
        document = json.loads(file.read_bytes())
        Report.model_validate({name: value for name, value in document.items() if name != "digest"})
    except (ValueError, AttributeError):
        raise NoSuchReportError(f"{file} is not a report as /v1/reports/WEEK.json gives it") from None
    return dict(document)


async def _verify(what: str) -> int:
    loaded = settings.load()
    name, _, number = what.partition("@")
    week = week_of(name, loaded)
    if number and not number.isdecimal():
        raise NoSuchReportError(f"{what}: a revision is a number, as in {week}@1")
    connection = await postgres.connect(loaded, "ddor-verify")
    findings = Findings()
    try:
        await calendar.check(connection, loaded.calendar)
        row = await connection.fetchrow(SQL["report"], week, int(number) if number else None, None)
        if row is None:
            raise NoSuchReportError(f"there is no report {what}")
        document: dict[str, Any] = row["figures"]
        if document.get("recovered"):
            raise NoSuchReportError(f"{what} was recovered from its announcement; it has no inputs to verify with")
        out.print(f"{week} revision {row['revision']}, digest {document['digest']}", highlight=False, soft_wrap=True)
        await _check_topic(loaded, week, row["revision"], document, findings)
        beside = await _check_kept(connection, row, findings)
        rules = await kept_inputs.rules(connection, document, findings)
    finally:
        await connection.close()
    if rules is not None:
        try:
            await _check_replay(loaded, document, rules, beside, findings)
        except replaying.LogTooShortError as error:
            if not findings.differ:
                raise
            findings.note(False, "replay", str(error))
    for gone in beside.replaced if findings.differ else ():
        on = gone["replaced_at"].date()
        err.print(
            f"{gone['partition']}: another log took its place on {on}; what was counted from it cannot be replayed"
        )
    return FAILED if findings.differ else 0


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands beside the log: the revision before, the line lists before, and what no replay can find out.

    `knew` are the vectors of the week's first report and of the revision before, none for the first itself, in offsets
    of the logs that are there now.
    `failed` were rejected because the aggregator failed on them; `redriven` are rejects that were sent again;
    `replaced` are partitions of which an earlier log is gone.
    """

    former: dict[str, Any]
    knew: Sequence[Offsets]
    lists: list[Kept] | None
    failed: Collection[Place]
    redriven: Sequence[asyncpg.Record]
    replaced: Sequence[asyncpg.Record]


async def _check_kept(connection: asyncpg.Connection[Any], row: asyncpg.Record, findings: Findings) -> Beside:
    """Digests, chain, changes and line list, as the database keeps them."""
    week, revision, document = row["week"], row["revision"], row["figures"]
    _check_digests(document, findings)
    findings.note(row["digest"] == document["digest"], "table report", "keeps the same digest")
    await _check_chain(connection, row["digest"], document["previous_digest"], findings)
    former: dict[str, Any] = {}
    if revision > 1:
        before = await connection.fetchrow(SQL["report"], week, revision - 1, None)
        former = before["figures"] if before else {}
        _check_changes(former, document, findings)
    lists = await _check_list(connection, week, revision, document, findings)
    knew = [row["offsets"] for row in await connection.fetch(CLI_SQL["knew"], week, revision)]
    failed = await replaying.failed(connection)
    redriven, replaced = await connection.fetch(CLI_SQL["redriven"]), await connection.fetch(CLI_SQL["replaced_logs"])
    return Beside(former, knew, lists, failed, redriven, replaced)


def _check_digests(document: dict[str, Any], findings: Findings) -> None:
    body = {name: value for name, value in document.items() if name != "digest"}
    findings.note(sha256_of(body) == document["digest"], "document digest", "is that of the document")
    figures = Figures.model_validate(_figures(document))
    findings.note(figures.digest == document["figures_digest"], "figures digest", "is that of the figures")


async def _check_topic(
    loaded: Settings, week: date, revision: int, document: dict[str, Any], findings: Findings
) -> None:
    """Compare with what was announced, name by name: it says which figure or offset was changed since."""
    found = [
        one.event["data"]
        async for one in recovery.announced(kafka.client(loaded, "ddor-verify"))
        if not one.final and (one.week, one.revision) == (week, revision)
    ]
    if len(found) != 1:
        findings.note(False, "report-ready", f"{len(found)} messages announce this revision")
        return
    too_many = {name for name in ("jurisdictions", "changes") if found[0][name] is None}
    said = {name: value for name, value in found[0].items() if name in document and name not in too_many}
    different = differences({name: document[name] for name in said}, said)
    for place, old, new in different:
        findings.note(False, place, f"the report says {old}, its announcement said {new}")
    if not different:
        findings.note(True, "report-ready", "one message, which says the same")


async def _check_chain(
    connection: asyncpg.Connection[Any], digest: str, previous: str | None, findings: Findings
) -> None:
    before = await connection.fetchval(SQL["digest_before"], digest)
    findings.note(before == previous, "chain", "names the digest of the report before")


def _check_changes(former: dict[str, Any], document: dict[str, Any], findings: Findings) -> None:
    """What the revision says it changed is what differs from the one before, and its causes sum to that."""
    if not former.get("jurisdictions"):
        findings.note("recovered" in former, "changes", "the revision before was recovered without its jurisdictions")
        return
    said = Report.model_validate({name: value for name, value in document.items() if name != "digest"})
    rows = _rows(former["jurisdictions"])
    causes: dict[restating.Cell, dict[str, int]] = {(one.geoid, one.kind): one.causes for one in said.changes}
    found = restating.changes(rows, said.jurisdictions, causes)
    findings.note(found == said.changes, "changes", "each cell that differs from the revision before, and no other")
    findings.note(not restating.unexplained(said.changes), "causes", "sum to the difference of each cell")
    if "tables" in former:
        tables = restating.table_changes(Tables.model_validate(former["tables"]), said.tables)
        findings.note(tables == said.table_changes, "table changes", "each row that differs, and no other")


async def _check_list(
    connection: asyncpg.Connection[Any], week: date, revision: int, document: dict[str, Any], findings: Findings
) -> list[Kept] | None:
    """The line list is what its digest says, or was withdrawn. Answers the lists made before, None if not known."""
    rows = [one for one in await connection.fetch(SQL["line_lists"], week) if one["revision"] <= revision]
    if named := document.get("line_list"):
        kept = [one for one in rows if one["sha256"] == named["sha256"]]
        if any(one["content"] is None for one in kept):
            findings.note(True, "line list", f"was withdrawn by {kept[0]['withdrawn_by']}; its digest stands for it")
        else:
            right = bool(kept) and all(hashlib.sha256(one["content"]).hexdigest() == one["sha256"] for one in kept)
            findings.note(right, "line list", "is that of its digest")
    if await connection.fetchval(SQL["was_recovered"], week, revision):
        return None
    return kept_lists(one for one in rows if one["revision"] < revision or one["content"] is None)


async def _check_replay(
    loaded: Settings, document: dict[str, Any], rules: Rules, beside: Beside, findings: Findings
) -> None:
    calendar = ReportingCalendar(ZoneInfo(rules.zone), Weekday[rules.first_day])
    week = calendar.week(date.fromisoformat(document["week_start"]))
    vector = document["offsets"]
    total = sum(end for ends in vector.values() for end in ends.values())
    columns = (TextColumn("replaying the log"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with replaying.scratch(loaded) as connection:
        with Progress(*columns, console=err) as progress:
            task = progress.add_task("", total=total)
            client = kafka.client(loaded, "ddor-verify")
            await replaying.replay(
                connection, client, vector, calendar, beside.failed,
                stages=beside.knew, counted=lambda n: progress.advance(task, n),
            )  # fmt: skip
        for row in beside.redriven:
            await connection.execute(CLI_SQL["mark_redriven"], *row)
        async with transaction(connection, "repeatable_read"):
            snapshots = Snapshots(connection)
            reached, _ = await snapshots.vector()
            await snapshots.prove(week.first)
            snapshot = replace(await snapshots.read(week.first, reached), lists=beside.lists)
            rows = beside.former.get("jurisdictions")
            changed = await snapshots.changed(week.first, beside.knew[-1]) if rows else []
            first = beside.knew[0] if beside.knew else None
            late = 0 if first is None else restating.late(week.first, await snapshots.changed(week.first, first), first)
            limits = rules.thresholds
            evidence = await snapshots.evidence(week, snapshot, {}, timedelta(days=limits.old_days))
    again = _made_again(week, snapshot, rules, document, beside)
    scope = report.build_scope(week, snapshot, rules, late)
    said, made = _derived(document), again.model_dump(mode="json") | {"scope": scope.model_dump(mode="json")}
    if not beside.former:  # no gate is asked about a restatement
        said["flags"] = [one for one in document["flags"] if one["gate"] in gates.OF_THE_LOG]
        found = gates.flags(evidence, limits)
        made["flags"] = [one.model_dump() for one in found if one.gate in gates.OF_THE_LOG]
    for place, old, new in differences(said, made):
        findings.note(False, place, f"the report says {old}, the log says {new}")
    findings.note(again.digest == document["figures_digest"], "replay", f"{total:,} offsets give the figures digest")
    if rows:
        why = restating.causes(week.first, changed, beside.knew[-1])
        _compare_causes(restating.changes(_rows(rows), again.jurisdictions, why), document, findings)


def _made_again(
    week: ReportingWeek, snapshot: report.Snapshot, rules: Rules, document: dict[str, Any], beside: Beside
) -> Figures:
    again = report.build_figures(week, snapshot, rules)
    if any(one.content is None for one in beside.lists or ()):
        # What was withdrawn cannot be made again, nor what depended on it: its digest stands for it.
        return again.model_copy(update={"line_list": Figures.model_validate(_figures(document)).line_list})
    return again


def _compare_causes(found: list[Change], document: dict[str, Any], findings: Findings) -> None:
    """The causes follow from the log below this vector and below that of the revision before."""
    again = [one.model_dump(mode="json") for one in found]
    different = differences({"changes": document["changes"]}, {"changes": again})
    for place, old, new in different:
        findings.note(False, place, f"the report says {old}, the log says {new}")
    if not different:
        findings.note(True, "causes", "are those that the log gives")


def _rows(listed: list[dict[str, Any]]) -> list[JurisdictionRow]:
    return [JurisdictionRow.model_validate(row) for row in listed]


def _figures(document: dict[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in _DERIVED if name in document}


def _derived(document: dict[str, Any]) -> dict[str, Any]:
    parsed = Report.model_validate({name: value for name, value in document.items() if name != "digest"})
    return parsed.model_dump(mode="json", include={*_DERIVED, "scope"})
