"""Assertions about all published weeks, and a table of their revisions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Any

from rich.table import Table

from schemas.acceptance import Refused, accept
from schemas.instant import instant
from schemas.topics import REPORT_LATEST
from schemas.week import ReportingWeek
from services.cli import console
from services.publisher import announcements
from tests.support import commands, kafka_log
from tests.support.batches import CALENDAR
from tests.support.kafka_log import Message
from tests.support.life import Life, prove_chain
from tests.support.publishing import client


async def prove(
    life: Life, weeks: Sequence[ReportingWeek], facts: Iterable[Message], say: Callable[[str], None]
) -> None:
    """Assert the invariants for all revisions. The first week was restated after it was final."""
    first = weeks[0]
    count = await prove_chain(life.connection)
    digests = [row["digest"] for row in await life.connection.fetch("SELECT digest FROM report ORDER BY sequence")]
    announced = [
        one async for one in announcements.read(client(life.settings)) if isinstance(one, announcements.Announced)
    ]
    assert [one.digest for one in announced if not one.final] == digests, "each revision once, in the order of writing"
    finals = [one.week for one in announced if one.final]
    assert finals == [week.first for week in weeks[: len(finals)]]
    expected = model(facts, weeks)
    for week in weeks:
        if await life.state(week) == "final" and week != first:
            continue
        assert Counter((await life.report(week))["totals"]) == expected[week.first], str(week)
        await life.moves(week)
    await _latest_is_the_newest(life)
    for what in (f"{first}@1", f"{first}", f"{weeks[4]}@2", f"{weeks[7]}", f"{weeks[8]}"):
        done = await commands.ddor(life.settings, "verify", what)
        assert done.exit_code == 0, done.output
        say(f"  ddor verify {what}: the log gives the same figures")
    say(f"{count} revisions, the chain unbroken; {len(finals)} weeks final")


def model(facts: Iterable[Message], weeks: Iterable[ReportingWeek]) -> dict[date, Counter[str]]:
    """The totals of each week over all facts, by plain counting."""
    best: dict[Any, tuple[Any, Any]] = {}
    for message in facts:
        try:
            fact = accept(message.value, message.topic)
        except Refused:
            continue
        rank = fact.version, fact.fingerprint
        if fact.identity not in best or best[fact.identity][0] < rank:
            best[fact.identity] = rank, fact
    totals: dict[date, Counter[str]] = {}
    for _, fact in best.values():
        if not fact.withdrawn:
            week = CALENDAR.week_of(instant(fact.counted_us)).first
            totals.setdefault(week, Counter())[fact.kind.value] += 1
    return {week.first: totals.get(week.first, Counter()) for week in weeks}


async def _latest_is_the_newest(life: Life) -> None:
    last: dict[str, int] = {}
    for event in await _events(life, REPORT_LATEST):
        week, revision = event["subject"], event["data"]["revision"]
        assert revision == last.get(week, 0) + 1, "revisions only increase"
        last[week] = revision
    rows = await life.connection.fetch("SELECT week::text, max(revision) AS newest FROM report GROUP BY week")
    assert last == {row["week"]: row["newest"] for row in rows}


async def _events(life: Life, topic: str) -> list[dict[str, Any]]:
    return [json.loads(one.value or b"") for one in await kafka_log.read(life.settings.kafka_bootstrap, topic)]


async def table(life: Life) -> Table:
    """Every revision, in the order of publication."""
    shown = console.table(
        "Week", ">Rev.", "Cause", ">Issued", ">Declined", ">Changes", "Causes", "Digest", title="Published"
    )
    for row in await life.connection.fetch("SELECT * FROM report ORDER BY sequence"):
        document = row["figures"]
        causes: Counter[str] = Counter()
        for one in document["changes"] or ():
            causes.update(one["causes"])
        marks = " ".join(f"{cause} {n:+d}" for cause, n in causes.items())
        marks += "".join(f" ({flag['gate']})" for flag in document.get("flags", ()))
        totals = document["totals"]
        shown.add_row(
            str(row["week"]), str(row["revision"]), row["cause"], str(totals["issued"]), str(totals["declined"]),
            str(len(document["changes"] or ())), marks, row["digest"][:12],
        )  # fmt: skip
    return shown
