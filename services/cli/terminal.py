"""How commands speak: results on stdout, all else on stderr, errors as one sentence and an exit code."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import typer
from rich.console import Console

from services.runtime.errors import CallerError, is_transient

out = Console()
if not out.is_terminal:
    out.width = 10_000  # a pipe has no edge: what the next command takes is on one line, whole
err = Console(stderr=True)

FAILED = 1
WRONG_USE = 2


def run(main: Coroutine[Any, Any, int | None]) -> None:
    """Run a command's coroutine; turn what the caller can mend into a sentence."""
    try:
        code = asyncio.run(main)
    except CallerError as error:
        err.print(f"[red]{type(error).__name__.removesuffix('Error')}:[/red] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(WRONG_USE) from None
    except Exception as error:
        if not is_transient(error):
            raise
        err.print(
            f"[red]Not reachable:[/red] {type(error).__name__}: {error or 'no answer in time'}. "
            "Is it running, and do DDOR_KAFKA_BOOTSTRAP and DDOR_POSTGRES_DSN name it?",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(FAILED) from None
    raise typer.Exit(code or 0)


def mends(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a synchronous command: a CallerError becomes a sentence and exit code 2."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:  # passes on whatever Typer gives
        try:
            command(*args, **kwargs)
        except CallerError as error:
            err.print(f"[red]{type(error).__name__.removesuffix('Error')}:[/red] {error}", soft_wrap=True)
            raise typer.Exit(WRONG_USE) from None

    return wrapped
