"""The clients of docs/examples/clients as processes, with input under the control of the test."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.waiting import until

FOLDER = Path(__file__).parents[2] / "docs" / "examples" / "clients"
LANGUAGES = {"python": "python", "java": "javac", "go": "go", "node": "node"}
"""By language: the program of its tool chain that must be on PATH."""
_LINES_A_PIECE = 10
_PIECE_SECONDS = 0.05
"""200 lines per second, so that an outage occurs between two lines."""


def missing(language: str) -> bool:
    """Whether its tool chain is missing. Python's is the interpreter of the tests."""
    return language != "python" and shutil.which(LANGUAGES[language]) is None


@functools.cache
def command(language: str, directory: Path) -> Sequence[str]:
    """The command line of the client. Java and Go clients are first compiled into the directory, once."""
    if language == "python":
        return [sys.executable, "-W", "error", str(FOLDER / "client.py")]
    if language == "node":
        return ["node", str(FOLDER / "client.mjs")]
    if language == "java":
        _compile(["javac", "-Xlint:all,-serial", "-Werror", "-d", str(directory), str(FOLDER / "Client.java")])
        return ["java", "-cp", str(directory), "Client"]
    built = str(directory / "client-in-go")
    _compile(["go", "build", "-o", built, str(FOLDER / "client.go")])
    return [built]


def _compile(argv: Sequence[str]) -> None:
    alone = {"GOFLAGS": "", "GOPROXY": "off", "GOTOOLCHAIN": "local"}  # nothing may be downloaded
    subprocess.run(argv, env=os.environ | alone, timeout=300, check=True)


@dataclass(slots=True)
class Running:
    """A running client. `out` and `err` grow line by line."""

    process: asyncio.subprocess.Process
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    async def feed(self, lines: Sequence[bytes]) -> None:
        """Write lines to its standard input, slowly."""
        assert self.process.stdin is not None
        for start in range(0, len(lines), _LINES_A_PIECE):
            self.process.stdin.writelines(lines[start : start + _LINES_A_PIECE])
            await self.process.stdin.drain()
            await asyncio.sleep(_PIECE_SECONDS)

    async def feed_without_end(self, lines: Sequence[bytes]) -> None:
        """Repeat the lines until the client exits or the call is cancelled."""
        with contextlib.suppress(OSError):
            while True:
                await self.feed(lines)

    async def prints(self, text: str, times: int = 1) -> None:
        """Wait until this many lines of its outputs contain the text. Fails if the client exits first."""

        async def printed() -> bool:
            ended = self.process.returncode
            found = sum(text in line for line in [*self.out, *self.err])
            assert found >= times or ended is None, f"exit code {ended}, output {self.out} {self.err}"
            return found >= times

        await until(printed, f"{times} lines with {text!r} from the client")

    async def ended(self) -> int:
        """Close its input. Returns its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await asyncio.wait_for(self.process.wait(), 120)


@contextlib.asynccontextmanager
async def running(argv: Sequence[str], variables: Mapping[str, str]) -> AsyncIterator[Running]:
    """Start a client, and kill it afterwards if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *argv, env={**os.environ, "NO_PROXY": "*", **variables},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    one = Running(process)
    reading = asyncio.gather(_collect(process.stdout, one.out), _collect(process.stderr, one.err))
    try:
        yield one
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def _collect(stream: asyncio.StreamReader, lines: list[str]) -> None:
    async for line in stream:
        lines.append(line.decode().rstrip())  # noqa: PERF401  # tests read the list meanwhile
