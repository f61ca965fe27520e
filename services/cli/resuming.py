"""`ddor resume TOPIC/PARTITION`: let a halted partition go on."""

from __future__ import annotations

from typing import Annotated, Any

import asyncpg
import typer

from services.aggregator.leases import Partition
from services.cli import places
from services.cli.terminal import FAILED, err, out, run
from services.runtime import postgres, queries, settings

SQL = queries.load("services.cli", "operators.sql")
_MOVING_SECONDS = 3600
_FAR = 2**60


def resume(
    partition: Annotated[str, typer.Argument(help="topic/partition, such as detainer-issued/3.")],
    by: Annotated[str, typer.Option("--by", help="Who decides; kept in operator_action.")],
    at: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Read on from this offset. Only after PositionLost: records before it are not counted. One below the"
            " position says that another log has taken the place of the one that was read.",
        ),
    ] = None,
) -> None:
    """Let a halted partition go on, from where it stopped. The breaker starts to count anew from there."""
    run(_resume(partition, by, at))


async def _resume(text: str, by: str, at: int | None) -> int:
    partition = places.partition(text)
    connection = await postgres.connect(settings.load(), "ddor-resume")
    try:
        async with connection.transaction():
            await connection.execute(SQL["lock_resuming"], str(partition), timeout=_MOVING_SECONDS)
            row = await connection.fetchrow(SQL["partition"], partition.topic, partition.number)
            if row is None:
                err.print(f"{partition}: no aggregator has met this partition yet")
                return FAILED
            if row["halted_reason"] is None:
                out.print(f"{partition}: is not halted; nothing to do")
                return 0
            if at is not None and not row["halted_reason"].startswith("PositionLost"):
                err.print(f"{partition}: --at is for PositionLost alone; this one stopped by {row['halted_reason']}")
                return FAILED
            if at is not None and at < row["next_offset"]:
                await _replace_log(connection, partition, row["next_offset"])
            start = await connection.fetchval(SQL["resume"], partition.topic, partition.number, at)
            detail = {"halted_reason": row["halted_reason"], "from": row["next_offset"], "at": start}
            await connection.execute(SQL["add_action"], by, "resume", str(partition), detail)
    finally:
        await connection.close()
    out.print(f"{partition}: goes on at offset {start}; it had stopped by {row['halted_reason']}", soft_wrap=True)
    return 0


async def _replace_log(connection: asyncpg.Connection[Any], partition: Partition, ended_at: int) -> None:
    """What was counted from the log before keeps its order, at offsets below 0. Minutes for a large ledger."""
    where = (partition.topic, partition.number)
    await connection.execute(SQL["replace_log"], *where, ended_at, timeout=_MOVING_SECONDS)
    await connection.execute(SQL["move_places"], *where, -_FAR)
    await connection.execute(SQL["move_places"], *where, _FAR - ended_at)
