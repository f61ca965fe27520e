"""`ddor status`: one table of what is late, stuck or refused."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table

from services.aggregator.leases import EXPIRY
from services.cli.terminal import out, run
from services.publisher.closer import EndOffsets
from services.publisher.store import Store
from services.runtime import kafka, postgres, queries, settings
from services.runtime.settings import Settings

SQL = queries.load("services.cli", "status.sql")

_RECORDS = (("records", "read"), ("duplicates", "of them duplicates"), ("rejected", "rejected"))


def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON document.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show again every 2 s until Ctrl-C.")] = False,
) -> None:
    """Show lag, halted partitions, rejects, weeks on their way and what is not yet sent.

    Rejects by reason and open conflicts are looked up in tables that grow, so --watch leaves them out.
    """
    run(_status(as_json, watch))


async def _status(as_json: bool, watch: bool) -> None:
    loaded = settings.load()
    connection = await postgres.connect(loaded, "ddor-status")
    ends = EndOffsets(kafka.client(loaded, "ddor-status"))
    try:
        await ends.start()
        if not watch:
            state = await _read(connection, ends, loaded)
            await _add_what_grows(connection, state)
            out.print_json(json.dumps(state)) if as_json else out.print(_table(state))
            return
        with Live(console=out, screen=False) as live:
            while True:
                live.update(_table(await _read(connection, ends, loaded)))
                await asyncio.sleep(2)
    finally:
        await ends.stop()
        await connection.close()


async def _read(connection: asyncpg.Connection[Any], ends: EndOffsets, loaded: Settings) -> dict[str, Any]:
    """What takes no longer the more has been counted."""
    end = await ends.read()
    workers = [dict(row) for row in await connection.fetch(SQL["workers"], EXPIRY)]
    alive = {one["name"] for one in workers if not one["dead"]}
    partitions = []
    for row in await connection.fetch(SQL["partitions"]):
        lag = end.get(row["topic"], {}).get(str(row["partition"]), 0) - row["next_offset"]
        partitions.append({**dict(row), "lag": lag, "without_worker": row["owner"] not in alive})
    now, store = datetime.now(UTC), Store(connection, loaded.calendar, loaded.hold)
    return {
        "at": now.isoformat(timespec="seconds"),
        "current_week": str(loaded.calendar.week_of(now)),
        "partitions": partitions,
        "workers": workers,
        "weeks": [dict(row) for row in await connection.fetch(SQL["weeks"])],
        "refused": {str(week): why for week, why in (await store.refused()).items()},
        "totals": {
            **{name: sum(one[name] for one in partitions) for name, _ in _RECORDS},
            "unsent": await connection.fetchval(SQL["unsent"]),
        },
    }


async def _add_what_grows(connection: asyncpg.Connection[Any], state: dict[str, Any]) -> None:
    """What takes the longer the more has been counted."""
    state["rejects"] = [dict(row) for row in await connection.fetch(SQL["rejects"])]
    state["totals"]["open_conflicts"] = await connection.fetchval(SQL["open_conflicts"])


def _table(state: dict[str, Any]) -> Group:
    table = Table(title=f"as of {state['at']}, week {state['current_week']}", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    partitions = state["partitions"]
    late = [f"{one['topic']}/{one['partition']}: {one['lag']:,}" for one in partitions if one["lag"] > 0]
    halted = [
        f"{one['topic']}/{one['partition']}: {one['halted_reason']}" for one in partitions if one["halted_reason"]
    ]
    unowned = [f"{one['topic']}/{one['partition']}" for one in partitions if one["without_worker"]]
    totals = state["totals"]
    rows = {
        "workers": _workers(state["workers"]),
        "lag (records)": late or ["none"],
        "halted": [f"[red]{line}[/red]" for line in halted] or ["none"],
        "without worker": unowned or ["none"],
        **_counted(state),
        "weeks": [_week(one) for one in state["weeks"]] or ["none asked for or published"],
        "not restated": [f"[red]{week}: {why}[/red]" for week, why in state["refused"].items()] or ["none"],
        "not yet sent": [f"{totals['unsent']:,}"],
        "records": [", ".join(f"{totals[name]:,} {word}" for name, word in _RECORDS)],
    }
    for name, lines in rows.items():
        table.add_row(name, "\n".join(lines))
    return Group(table)


def _workers(workers: list[dict[str, Any]]) -> list[str]:
    lines = [] if any(not one["dead"] for one in workers) else ["[red]none: nothing is counted[/red]"]
    for one in workers:
        seen = f"{one['name']}: seen {one['age_seconds']} s ago, {one['partitions']} partitions"
        lines.append(f"[red]{seen}, dead[/red]" if one["dead"] else seen)
    return lines


def _counted(state: dict[str, Any]) -> dict[str, list[str]]:
    if "rejects" not in state:
        return {}
    rejects = [f"{one['topic']} {one['reason']}: {one['n']:,}" for one in state["rejects"]]
    return {"rejected": rejects or ["none"], "open conflicts": [f"{state['totals']['open_conflicts']:,}"]}


def _week(one: dict[str, Any]) -> str:
    if one["state"] != "held":
        return f"{one['week']}: {one['state']}"
    because = "; ".join(f"{flag['gate']}: {flag['detail']}" for flag in one["held_because"])
    return f"[yellow]{one['week']}: held until {one['held_until']}[/yellow]: {because}"
