"""`python -m tests.chaos --kills N --events N --seed N`: exit code 1 on any violation."""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from services.cli.console import out, table
from tests.chaos.running import COMMAND, Chaos, Outcome
from tests.chaos.schedule import schedule


def main(
    kills: Annotated[int, typer.Option(min=1, help="Number of kills, stops and restarts.")] = 100,
    events: Annotated[int, typer.Option(min=100, help="Number of records written.")] = 300_000,
    keep: Annotated[
        Path | None, typer.Option(help="A new directory for the logs of the run, which is not deleted.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same story and the same schedule.")] = 1,
) -> None:
    """Kill all parts repeatedly while events stream in; then count lost and double-counted events."""
    for chatty in ("aiokafka", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with (
        Progress(*columns, console=Console(stderr=True), transient=True) as bar,
        tempfile.TemporaryDirectory(prefix="ddor-chaos-") as directory,
    ):
        events_task, hit = bar.add_task("events acknowledged", total=events), bar.add_task("kills", total=kills)

        def progress(acknowledged: int, blows: int) -> None:
            bar.update(events_task, completed=acknowledged)
            bar.update(hit, completed=blows)

        folder = keep or Path(directory)

        blows = schedule(kills, events, seed)
        command = (sys.executable, *COMMAND)
        outcome = asyncio.run(Chaos(folder, blows, events, seed, command, progress).run())
    show(outcome)
    raise typer.Exit(0 if outcome.good else 1)


def show(outcome: Outcome) -> None:
    """Print the table of a run."""
    blows = table("kill, stop or restart of", ">times")
    for name, times in sorted(outcome.blows.items()):
        blows.add_row(name, str(times))
    out.print(blows)
    verdict = outcome.verdict
    out.print(f"seed {outcome.seed}: {outcome.blows.total()} kills, stops and restarts in {outcome.seconds:.0f} s")
    out.print(f"events acknowledged {outcome.acknowledged:,}, records on the log {verdict.records:,}")
    out.print(f"lost {verdict.lost:,}, double-counted {verdict.doubled:,}, reports published {verdict.reports}")
    for sentence in verdict.violations:
        out.print(f"VIOLATION {sentence}", style="red", soft_wrap=True, markup=False)


if __name__ == "__main__":
    typer.run(main)
