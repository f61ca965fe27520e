"""`ddor status`: lag, halted partitions, rejects and weeks in one table, and an exit code for scripts."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from services.cli.console import FAILED, WRONG_USE, out, run, table
from services.publisher.desk import reading
from services.publisher.desk.findings import needs_operator, utc
from services.publisher.desk.log_ends import LogEnds, LogReader
from services.publisher.desk.state import document
from services.publisher.desk.waiting import open_transactions
from services.runtime import error_messages, kafka, postgres, settings
from services.runtime.settings import Settings

_POSTGRES, _KAFKA = "PostgreSQL", "Kafka"
_RECORDS = (("records", "read"), ("duplicates", "of them duplicates"), ("rejected", "rejected"))


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every 2 seconds until Ctrl-C.")] = False,
) -> None:
    """Show lag, halted partitions, rejected records, weeks that are closing, and unsent messages.

    Lag is the number of records that Kafka has and the aggregators have not read. With --watch, rejects by reason and
    open conflicts are left out, because they take long to count in a large database.

    Exit codes:

    - 0: everything runs
    - 1: an operator must act: no aggregator or publisher runs, a partition is halted, a restatement
      is refused, or the report of a week differs from the log
    - 2: PostgreSQL or Kafka cannot be reached, or the settings are wrong
    """
    run(_status(as_json, watch))


async def _status(as_json: bool, watch: bool) -> int:
    loaded = settings.load()
    if watch:
        await _watch(loaded)
    async with AsyncExitStack() as stack:
        state = await _look(stack, loaded)
    out.print_json(json.dumps(state)) if as_json else out.print(_table(state))
    if state["away"]:
        return WRONG_USE
    return FAILED if needs_operator(state) else 0


async def _watch(loaded: Settings) -> None:
    """Refresh until Ctrl-C. Raises the errors of PostgreSQL and Kafka."""
    async with AsyncExitStack() as stack:
        connection, log = await _connection(stack, loaded), await _log(stack, loaded)
        with Live(console=out, screen=False) as live:
            while True:
                live.update(_table(await _read(connection, await log.read(), loaded)))
                await asyncio.sleep(2)


async def _look(stack: AsyncExitStack, loaded: Settings) -> dict[str, Any]:
    """The status document. `away` has the reasons why PostgreSQL and Kafka cannot be read."""
    now, away = datetime.now(UTC), {}
    state: dict[str, Any] = {
        "at": now.isoformat(timespec="seconds"),
        "current_week": str(loaded.calendar.week_of(now)),
    }
    ends = None
    try:
        ends = await (await _log(stack, loaded)).read()
    except Exception as error:
        away[_KAFKA] = _why(error)
    try:
        connection = await _connection(stack, loaded)
        state |= await _read(connection, ends, loaded)
        await _add_growing(connection, state)
    except Exception as error:
        away[_POSTGRES] = _why(error)
    return state | {"away": away}


def _why(error: Exception) -> str:
    """The message for an error with an external cause. Any other error is raised again."""
    why = error_messages.message(error)
    if why is None:
        raise error
    return why


async def _connection(stack: AsyncExitStack, loaded: Settings) -> asyncpg.Connection[Any]:
    connection = await postgres.connect(loaded, "ddor-status")
    stack.callback(connection.terminate)
    return connection


async def _log(stack: AsyncExitStack, loaded: Settings) -> LogReader:
    log = LogReader(kafka.client(loaded, "ddor-status"))
    stack.push_async_callback(log.stop)
    await log.start()
    return log


async def _read(connection: asyncpg.Connection[Any], ends: LogEnds | None, loaded: Settings) -> dict[str, Any]:
    """The parts whose cost does not grow with the number of counted events. Without `ends` the lag is unknown."""
    return document(await reading.tables(connection), ends, datetime.now(UTC), loaded)


async def _add_growing(connection: asyncpg.Connection[Any], state: dict[str, Any]) -> None:
    """The parts whose cost grows with the number of counted events."""
    state["rejects"] = await reading.rejects(connection)
    state["totals"]["open_conflicts"] = await reading.open_conflicts(connection)


def _table(state: dict[str, Any]) -> Group:
    shown = table("", "", title=f"as of {state['at']}, week {state['current_week']}")
    away = state.get("away", {})
    rows = {name: [_red(why)] for name, why in away.items()}
    if _POSTGRES not in away:
        rows |= _rows(state)
    for name, lines in rows.items():
        shown.add_row(Text(name), Text("\n").join(lines))
    return Group(shown)


def _rows(state: dict[str, Any]) -> dict[str, list[Text]]:
    partitions, totals = state["partitions"], state["totals"]
    late = [f"{one['topic']}/{one['partition']}: {one['lag']:,}" for one in partitions if (one["lag"] or 0) > 0]
    if any(one["lag"] is None for one in partitions):
        late = ["unknown: Kafka cannot be reached"]
    halted = [
        f"{one['topic']}/{one['partition']}: {one['halted_reason']}" for one in partitions if one["halted_reason"]
    ]
    unowned = [f"{one['topic']}/{one['partition']}" for one in partitions if one["without_worker"]]
    return {
        "workers": _workers(state["workers"]),
        "publisher": [_publisher(state["publisher"])],
        "lag (records)": _lines(late),
        "transactions": _lines(open_transactions(partitions)),
        "halted": [_red(line) for line in halted] or _lines([]),
        "without worker": _lines(unowned),
        **_counted(state),
        "weeks": [_week(one) for one in state["weeks"]] or [Text("none requested or published")],
        "not restated": [_red(f"{week}: {why}") for week, why in state["refused"].items()] or _lines([]),
        "not verified": [_red(f"{one['week']}: {one['outcome']}") for one in state["verifications"]] or _lines([]),
        "audit": [_audit(state["audit"])],
        "not yet sent": [Text(f"{totals['unsent']:,}")],
        "records": [Text(", ".join(f"{totals[name]:,} {word}" for name, word in _RECORDS))],
    }


def _lines(lines: list[str]) -> list[Text]:
    return [Text(line) for line in lines or ["none"]]


def _red(line: str) -> Text:
    return Text(line, "red")


def _workers(workers: list[dict[str, Any]]) -> list[Text]:
    lines = [] if any(not one["dead"] for one in workers) else [_red("none: nothing is counted")]
    for one in workers:
        seen = f"{one['name']}: seen {one['age_seconds']} s ago, {one['partitions']} partitions"
        lines.append(_red(f"{seen}, dead") if one["dead"] else Text(seen))
    return lines


def _publisher(one: dict[str, Any] | None) -> Text:
    if one is None:
        return _red("none has run yet: no week closes")
    seen = f"seen {one['age_seconds']} s ago"
    return _red(f"none: no week closes; the last was {seen}") if one["dead"] else Text(seen)


def _audit(one: dict[str, Any] | None) -> Text:
    if one is None:
        return Text("none yet")
    at = utc(one["at"])
    return _red(f"{at}: {one['outcome']}; no week closes") if one["outcome"] else Text(f"{at}: no difference")


def _counted(state: dict[str, Any]) -> dict[str, list[Text]]:
    if "rejects" not in state:
        return {}
    rejects = [f"{one['topic']} {one['reason']}: {one['n']:,}" for one in state["rejects"]]
    return {"rejected": _lines(rejects), "open conflicts": [Text(f"{state['totals']['open_conflicts']:,}")]}


def _week(one: dict[str, Any]) -> Text:
    if one["state"] != "held":
        waits_for = "".join(f"; {sentence}" for sentence in one.get("waits_for", ()))
        return Text(f"{one['week']}: {one['state']}{waits_for}")
    because = "; ".join(f"{flag['gate']}: {flag['detail']}" for flag in one["held_because"])
    return Text.assemble((f"{one['week']}: held until {one['held_until']}", "yellow"), f": {because}")
