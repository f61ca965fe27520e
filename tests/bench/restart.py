"""`make bench-restart`: time from SIGKILL of the only aggregator to the first event that its successor counts.

The process is restarted immediately under the same name, as by a supervisor, while events stream in.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from deploy.local import parts
from deploy.local.databases import database_dsn
from deploy.local.service import Service
from deploy.local.stack import DATABASE, Stack
from services.cli.console import out
from tests.support.positions import Connection
from tests.support.stacks import looking
from tests.support.streaming import streaming
from tests.support.waiting import until


def main(trials: Annotated[int, typer.Option(min=2)] = 20) -> None:
    """Kill and restart the aggregator this many times, and print the times."""
    for chatty in ("aiokafka", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="ddor-restart-") as directory:
        seconds = sorted(asyncio.run(_measure(Path(directory), trials)))
    p95 = statistics.quantiles(seconds, n=20, method="inclusive")[18]
    out.print(f"{trials} restarts after kill -9: median {statistics.median(seconds):.2f} s, p95 {p95:.2f} s,")
    out.print(f"fastest {seconds[0]:.2f} s, slowest {seconds[-1]:.2f} s to the first event counted")


async def _measure(directory: Path, trials: int) -> list[float]:
    kafka = parts.choose_kafka(directory / "kafka", real_only=True)
    postgres = parts.choose_postgres(directory / "postgres")
    stack = Stack(directory / "state", kafka, postgres, first_week="2099-01-03")
    try:
        await asyncio.to_thread(stack.prepare)
        aggregator = stack.services["aggregator"]
        await asyncio.to_thread(aggregator.start)
        async with looking(database_dsn(postgres.dsn, DATABASE)) as connection:
            async with streaming(connection, kafka.bootstrap) as stream:
                shown = track(range(trials), console=Console(stderr=True))
                seconds = [await _trial(aggregator, connection) for _ in shown]
            await stream.check(connection)
        return seconds
    finally:
        for service in stack.services.values():
            await asyncio.to_thread(service.kill)
        for part in (kafka, postgres):
            await asyncio.to_thread(part.destroy)


async def _trial(aggregator: Service, connection: Connection) -> float:
    async def counted() -> int:
        return int(await connection.fetchval("SELECT sum(records) FROM partition_position"))

    before = await counted()
    await until(lambda: _beyond(connection, before), "events counted before the kill")
    began = time.perf_counter()
    await asyncio.to_thread(aggregator.kill)
    aggregator.spawn()
    await until(lambda: _is_gone(connection), "the end of the dead process's session")
    at_death = await counted()
    await until(lambda: _beyond(connection, at_death), "events counted after the kill")
    return time.perf_counter() - began


async def _is_gone(connection: Connection) -> bool:
    """Whether the sessions of the killed process have ended; its last commit may still be in progress there."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ddor-aggregator-writer'"
    return bool(await connection.fetchval(query) == 0)


async def _beyond(connection: Connection, records: int) -> bool:
    return bool(await connection.fetchval("SELECT sum(records) > $1 FROM partition_position", records))


if __name__ == "__main__":
    typer.run(main)
