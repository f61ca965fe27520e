"""`ddor resume TOPIC/PARTITION`: resume a halted partition."""

from __future__ import annotations

from typing import Annotated, Any

import asyncpg
import typer

from schemas.log import Partition
from services.cli import addresses
from services.cli.console import FAILED, err, impersonal, out, run
from services.cli.queries import SQL
from services.runtime import postgres, settings

_MOVING_SECONDS = 3600
"""Time limit for moving the offsets of a replaced log, which takes minutes for a large ledger."""
_FAR = 2**60
"""Added to offsets while they move, so that no row gets the key of another one."""


def resume(
    partition: Annotated[
        str, typer.Argument(metavar="TOPIC/PARTITION", help="The halted partition, such as detainer-issued/3.")
    ],
    by: Annotated[
        str, typer.Option("--by", callback=impersonal, help="Your name. Stored in the table operator_action.")
    ],
    at: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Only after PositionLost: continue at this offset. Records between the position and it are not"
            " counted. An offset below the position declares that the partition's log was replaced.",
        ),
    ] = None,
) -> None:
    """Resume a halted partition where it stopped. Correct the cause first; 'ddor status' shows it.

    Example: ddor resume detainer-issued/3 --by "A. Smith"

    The limit on rejected records, which halts a partition, counts from zero again.
    """
    run(_resume(partition, by, at))


async def _resume(text: str, by: str, at: int | None) -> int:
    partition = addresses.partition(text)
    connection = await postgres.connect(settings.load(), "ddor-resume")
    try:
        async with connection.transaction():
            await connection.execute(SQL["lock_resuming"], str(partition), timeout=_MOVING_SECONDS)
            row = await connection.fetchrow(SQL["partition"], partition.topic, partition.number)
            if row is None:
                err.print(f"{partition}: no aggregator has read this partition yet")
                return FAILED
            if row["halted_reason"] is None:
                out.print(f"{partition}: is not halted; nothing to do")
                return 0
            if at is not None and not row["halted_reason"].startswith("PositionLost"):
                err.print(f"{partition}: omit --at, it is only for PositionLost; halted by {row['halted_reason']}")
                return FAILED
            if at is not None and at < row["next_offset"]:
                await _replace_log(connection, partition, row["next_offset"])
            start = await connection.fetchval(SQL["resume"], partition.topic, partition.number, at)
            detail = {"halted_reason": row["halted_reason"], "from": row["next_offset"], "at": start}
            await connection.execute(SQL["add_action"], by, "resume", str(partition), detail)
    finally:
        await connection.close()
    out.print(f"{partition}: resumed at offset {start}; it was halted by {row['halted_reason']}", soft_wrap=True)
    return 0


async def _replace_log(connection: asyncpg.Connection[Any], partition: Partition, ended_at: int) -> None:
    """Move the records of the old log to offsets below 0, in the same order. Takes minutes for a large ledger."""
    key = (partition.topic, partition.number)
    await connection.execute(SQL["replace_log"], *key, ended_at, timeout=_MOVING_SECONDS)
    await connection.execute(SQL["move_offsets"], *key, -_FAR)
    await connection.execute(SQL["move_offsets"], *key, _FAR - ended_at)
