"""`ddor site DIR`: write all published reports as files that any web server or archive can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from services.cli.console import err, out, run
from services.publisher.static_site import copy
from services.publisher.static_site.writer import Written
from services.runtime import logs, settings


def site(
    directory: Annotated[Path, typer.Argument(metavar="DIR", file_okay=False, help="The directory. It is created.")],
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Use a directory that has files of others. Those with the names of the site are replaced, all others"
            " remain.",
        ),
    ] = False,
) -> None:
    """Write the whole site as files: every page, report, revision and feed that the publisher serves.

    Example: ddor site public && python3 -m http.server --directory public

    The pages need no server: open public/index.html. Copy the directory to any web server, or archive it;
    public/README.txt describes how to verify it. The same database gives the same bytes.

    Run it again after each publication. It replaces only the files that changed, each in one step, and deletes only
    files that it wrote. If you interrupt it, run it again.

    It reads PostgreSQL (DDOR_POSTGRES_DSN) in one transaction, and needs the settings of the publisher, such as
    DDOR_FIRST_WEEK, for the pages about method and calendar. Neither Kafka nor the publisher has to run.

    Exit codes:

    - 0: the directory is a complete copy
    - 1: a defect: a published report could not be rendered
    - 2: wrong usage or settings, the directory has files of others, PostgreSQL cannot be reached, or the disk is full
    """
    run(_site(directory, force=force))


async def _site(directory: Path, *, force: bool) -> int:
    loaded = settings.load()
    logs.configure(loaded, "site")
    began = perf_counter()
    with _progress() as progress:
        written = await copy.write(loaded, directory, progress, force=force)
    _print_summary(directory, written, perf_counter() - began)
    return 0


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar over the files. Their number grows, because pages link to further ones."""
    columns = (
        TextColumn("writing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, known: bar.update(task, completed=done, total=known)


def _print_summary(directory: Path, done: Written, seconds: float) -> None:
    out.print(
        f"{directory}: {done.files:,} files, {done.pages:,} of them pages, {done.size / 1e6:,.1f} MB;"
        f" {done.written:,} written, {done.unchanged:,} unchanged, {done.removed:,} removed, in {seconds:.1f} s",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
