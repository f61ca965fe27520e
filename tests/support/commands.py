"""`ddor` as a separate process with the settings of the test; see `tests.support.command_server`."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

from pydantic import SecretStr

from deploy.local.probes import wait_until
from services.runtime.settings import Settings

_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Done:
    """A command's exit code, standard output and standard error."""

    exit_code: int
    out: str
    err: str

    @property
    def output(self) -> str:
        """Standard output and standard error."""
        return self.out + self.err


def environment(settings: Settings) -> dict[str, str]:
    """The environment variables for these settings."""
    login = {
        f"DDOR_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name in settings.model_fields_set
        if name.startswith(("kafka_security", "kafka_sasl", "kafka_ssl"))
        and (value := getattr(settings, name)) is not None
    }
    first_week = {"DDOR_FIRST_WEEK": str(settings.first_week)} if settings.first_week else {}
    return {
        **os.environ,
        **first_week,
        **login,
        "DDOR_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "DDOR_KAFKA_REPLICATION": "1",
        "DDOR_POSTGRES_DSN": settings.postgres_dsn.get_secret_value(),
        "DDOR_AGENCIES_FILE": str(settings.agencies_file),
        "DDOR_RESTATEMENT_WEEKS": str(settings.restatement_weeks),
    }


async def ddor(settings: Settings, *arguments: str, **variables: str) -> Done:
    """Run a command to its end, with pipes as output. `variables` take precedence over the settings."""
    env = environment(settings) | {"COLUMNS": "80", "NO_COLOR": "1"} | variables
    return await asyncio.to_thread(_run, arguments, env)


def _run(arguments: Sequence[str], env: Mapping[str, str]) -> Done:
    with (
        NamedTemporaryFile() as out,
        NamedTemporaryFile() as err,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection,
    ):
        connection.settimeout(_SECONDS)
        connection.connect(_server())
        request = {"argv": arguments, "env": dict(env), "out": out.name, "err": err.name}
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as responses:
            response = json.loads(responses.readline())
        return Done(response["code"], out.read().decode(), err.read().decode())


@cache
def _server() -> str:
    """The socket of this process's command server."""
    directory = TemporaryDirectory(prefix="ddor-commands-")
    path = f"{directory.name}/socket"
    process = subprocess.Popen([sys.executable, "-m", "tests.support.command_server", path], stdin=subprocess.DEVNULL)

    def end() -> None:
        process.terminate()
        process.wait()
        directory.cleanup()

    atexit.register(end)
    wait_until(lambda: Path(path).exists(), seconds=60, what="the command server", alive=lambda: process.poll() is None)
    return path
