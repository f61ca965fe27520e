"""`ddor` as a process of its own, with the settings of the test."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass

from services.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, and what it said on standard output and on standard error."""

    exit_code: int
    out: str
    err: str

    @property
    def output(self) -> str:
        """All that it said."""
        return self.out + self.err


def environment(settings: Settings) -> dict[str, str]:
    """The variables that give a process these settings."""
    first_week = {"DDOR_FIRST_WEEK": str(settings.first_week)} if settings.first_week else {}
    return {
        **os.environ,
        **first_week,
        "DDOR_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "DDOR_KAFKA_REPLICATION": "1",
        "DDOR_POSTGRES_DSN": settings.postgres_dsn.get_secret_value(),
        "DDOR_AGENCIES_FILE": str(settings.agencies_file),
        "DDOR_RESTATEMENT_WEEKS": str(settings.restatement_weeks),
    }


async def ddor(settings: Settings, *arguments: str, **variables: str) -> Done:
    """Run a command to its end, in a pipe, which no terminal may cut; `variables` come before the settings."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli.main", *arguments,
        env=environment(settings) | {"COLUMNS": "80", "NO_COLOR": "1"} | variables, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 120)
    return Done(process.returncode or 0, out.decode(), err.decode())
