"""The output of commands: results on stdout, messages on stderr, errors as one sentence and an exit code.

Text is never parsed as markup, because it may come from a file, a server or an operator. Use `Text` for styles.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from schemas import a_number
from services.runtime import error_messages, logs
from services.runtime.errors import InvariantError

out = Console(markup=False, emoji=False)
if not out.is_terminal:
    out.width = 10_000  # in a pipe, never wrap: another command may read the lines
err = Console(stderr=True, markup=False, emoji=False)

FAILED = 1
WRONG_USE = 2


def impersonal(text: str) -> str:
    """Check an option whose text is stored or published. Raises BadParameter if it contains an A-number."""
    try:
        return a_number.impersonal(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def run(main: Coroutine[Any, Any, int | None]) -> None:
    """Run a command's coroutine and exit with its code. External causes are reported as in `report_caller_errors`."""
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # the error message is enough; services log more
    with _one_sentence():
        code = asyncio.run(main)
    raise typer.Exit(code or 0)


def report_caller_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a synchronous command: an error with an external cause becomes one sentence and exit code 2."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:  # the arguments that Typer passes
        with _one_sentence():
            command(*args, **kwargs)

    return wrapped


@contextmanager
def _one_sentence() -> Iterator[None]:
    logs.for_commands()  # a long-running command replaces this by `logs.configure`
    try:
        yield
    except Exception as error:
        why = error_messages.message(error)
        if why is None:
            raise
        complain(type(error_messages.first_error(error)).__name__.removesuffix("Error"), why)
        raise typer.Exit(
            FAILED if isinstance(error_messages.first_error(error), InvariantError) else WRONG_USE
        ) from None


def complain(what: str, why: object) -> None:
    """Print an error to stderr, on one line."""
    err.print(styled("red", f"{what}:", f" {why}"), highlight=False, soft_wrap=True)


def table(*headings: str, title: str | Text = "", lines: box.Box = box.HEAVY_HEAD) -> Table:
    """A table that cuts no heading and no cell: in a narrow terminal they fold, in a pipe they stay on one line.

    A heading that begins with `>` is one of numbers, on the right. Without headings, give an empty one for each column.
    """
    columns = [
        Column(Text(name.removeprefix(">")), justify="right" if name.startswith(">") else "left", overflow="fold")
        for name in headings
    ]
    return Table(*columns, title=Text(title) if isinstance(title, str) else title, show_header=any(headings), box=lines)


def styled(style: str, text: str, rest: str = "") -> Text:
    """`text` in a style, followed by `rest` without it."""
    return Text.assemble((text, style), rest)
