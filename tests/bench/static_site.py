"""``python -m tests.bench.static_site``: duration of ``ddor site`` with ten years of reports.

A report of each week, with its pages, is written to an empty directory; then again with no change, after a new week,
and after a new revision of an old week.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from time import perf_counter, process_time

from pydantic import SecretStr

from deploy.local.databases import ensure_database
from deploy.local.parts import choose_postgres
from schemas.jurisdiction import registry
from schemas.week import ReportingWeek
from services.cli.console import out, table
from services.publisher.static_site import copy
from services.runtime import migrations, postgres
from services.runtime.settings import Settings
from tests.bench.machine import load
from tests.support.batches import CALENDAR
from tests.support.local_parts import started
from tests.support.positions import Connection
from tests.support.published import inputs, publish

FIRST = date(2007, 1, 27)


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.static_site", description=__doc__)
    parser.add_argument("--weeks", type=int, default=520)
    parser.add_argument("--jurisdictions", type=int, default=300)
    arguments = parser.parse_args()
    out.print(load())
    with tempfile.TemporaryDirectory(prefix="ddor-bench-") as scratch:
        directory = Path(scratch)
        with started(choose_postgres(directory / "postgres", source="native")) as database:
            settings = Settings(first_week=FIRST, postgres_dsn=SecretStr(ensure_database(database.dsn, "site")))
            rows = asyncio.run(_measure(settings, directory / "site", arguments.weeks, arguments.jurisdictions))
    title = f"{arguments.weeks} weeks, {arguments.jurisdictions} jurisdictions"
    shown = table("Run", ">Seconds", ">CPU", ">Files", ">MB", ">Written", title=title)
    for row in rows:
        shown.add_row(*row)
    out.print(shown)


async def _measure(settings: Settings, directory: Path, weeks: int, jurisdictions: int) -> list[tuple[str, ...]]:
    connection = await postgres.connect(settings, "ddor-bench")
    try:
        await migrations.apply(connection)
        codes = [entry.code for entry in registry() if len(entry.code) == 5][:: 3_200 // jurisdictions][:jurisdictions]
        await _fill(connection, codes, range(weeks))
        await connection.execute("VACUUM ANALYZE")
        rows = [await _run("an empty directory", settings, directory), await _run("no change", settings, directory)]
        await _fill(connection, codes, [weeks])
        rows.append(await _run("a new week", settings, directory))
        old = _week(weeks // 2)
        await publish(connection, old, dict.fromkeys(codes, 7), dict.fromkeys(codes, 3), revision=2, state="final")
        rows.append(await _run("a revision of an old week", settings, directory))
        return rows
    finally:
        await connection.close()


async def _fill(connection: Connection, codes: Sequence[str], numbers: Sequence[int]) -> None:
    used = inputs()
    for number in numbers:
        issued = {code: 1 + (number * 7 + place) % 60 for place, code in enumerate(codes)}
        declined = {code: (number + place * 3) % 11 for place, code in enumerate(codes)}
        await publish(connection, _week(number), issued, declined, state="final", used=used)


def _week(number: int) -> ReportingWeek:
    return CALENDAR.week(FIRST + timedelta(days=7 * number))


async def _run(what: str, settings: Settings, directory: Path) -> tuple[str, ...]:
    began, computed = perf_counter(), process_time()
    done = await copy.write(settings, directory)
    took, used = perf_counter() - began, process_time() - computed
    return what, f"{took:.1f}", f"{used:.1f}", f"{done.files:,}", f"{done.size / 1e6:,.0f}", f"{done.written:,}"


if __name__ == "__main__":
    main()
