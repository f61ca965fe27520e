"""A broker from a Python wheel for machines without Docker and Java. It speaks Kafka's protocol but is not Kafka."""

from __future__ import annotations

import importlib.util
import os
import stat
from pathlib import Path
from typing import Literal

from deploy.local.errors import PartUnavailableError
from deploy.local.ports import LOOPBACK
from deploy.local.probes import kafka_answers
from deploy.local.process_part import ProcessPart


class EmbeddedKafka(ProcessPart):
    """noida-db with only its Kafka protocol. For demonstrations: it can lose acknowledged records when killed.

    It ignores the fetch size limits of clients, so a consumer with a large lag needs much memory.
    """

    name = "noida-db 0.2 (embedded broker, not Apache Kafka)"
    source: Literal["embedded"] = "embedded"

    @property
    def bootstrap(self) -> str:
        """`host:port`, for clients."""
        return f"{LOOPBACK}:{self.port}"

    def _launch(self) -> None:
        program = _program()
        if program is None:
            raise PartUnavailableError(" ".join(missing()))
        command = [
            str(program),
            "start",
            "--only",
            "kafka",
            "--host",
            LOOPBACK,
            "--kafka-port",
            str(self.port),
        ]
        self.process.spawn([*command, "--data-dir", str(self.directory / "data")], cwd=self.directory)

    def _answers(self) -> bool:
        return kafka_answers(self.bootstrap)


def missing() -> list[str]:
    """What to install before the embedded broker can run, one sentence each."""
    if _program() is not None:
        return []
    return ["The Python package noida-db is not installed: pip install -r requirements/local.txt."]


def _program() -> Path | None:
    # Not the `noida-db` script: it is a Python process that waits for this program and does not forward signals.
    package = importlib.util.find_spec("noida_db")
    if package is None or package.origin is None:
        return None
    program = Path(package.origin).with_name("noida-db")
    if not program.is_file():
        return None
    if not os.access(program, os.X_OK):
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program
