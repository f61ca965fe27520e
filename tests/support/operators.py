"""`ddor` as an operator calls it: a process of its own, what it says on which stream, and its exit code."""

from __future__ import annotations

import asyncio
import sys
from typing import NamedTuple

from services.runtime.settings import Settings
from tests.support.commands import environment


class Said(NamedTuple):
    """Exit code, standard output, standard error."""

    code: int
    out: str
    err: str


async def ddor(settings: Settings, *arguments: str) -> Said:
    """Run a command to its end, its lines long enough for a table."""
    variables = {name: value for name, value in environment(settings).items() if value}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli.main", *arguments,
        env=variables | {"COLUMNS": "160", "NO_COLOR": "1"},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return Said(process.returncode or 0, out.decode(), err.decode())
