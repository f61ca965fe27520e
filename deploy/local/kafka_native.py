"""Apache Kafka as a Java process: a KRaft node that is broker and controller unless its settings differ."""

from __future__ import annotations

import base64
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from deploy.local.errors import PartFailedError
from deploy.local.kafka_jars import KAFKA_VERSION, QUICK_START, java_command
from deploy.local.kafka_settings import SINGLE_NODE
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.probes import kafka_answers
from deploy.local.process_part import ProcessPart

_JVM = ("-Xmx512m", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true")
STEADY = ("-Xms256m", "-XX:+UseG1GC")
"""For a long-running Kafka: its start takes twice the CPU time of QUICK_START, but it is faster after a minute."""


def new_cluster() -> str:
    """A random id for a cluster."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "a")


class NativeKafka(ProcessPart):
    """Apache Kafka from Maven's jars, as a Java process on 127.0.0.1."""

    name = f"Apache Kafka {KAFKA_VERSION} (native, Maven jars)"
    source: Literal["native"] = "native"
    jvm: Sequence[str] = STEADY
    """JVM options for the compiler and the garbage collector."""

    def __init__(
        self, directory: Path, *, port: int = 0, settings: Mapping[str, str] | None = None, cluster: str | None = None
    ) -> None:
        """`settings` override those of a single node. `cluster` is the id of the cluster that the node joins."""
        super().__init__(directory, port=port)
        self._settings = dict(settings or {})
        self._cluster = cluster or new_cluster()

    @property
    def bootstrap(self) -> str:
        """`host:port`, for clients."""
        return f"{LOOPBACK}:{self.port}"

    def _launch(self) -> None:
        properties = self.directory / "server.properties"
        data = self.directory / "data"
        listeners = f"PLAINTEXT://{self.bootstrap},CONTROLLER://{LOOPBACK}:"
        controller = free_port()
        settings = SINGLE_NODE | {
            "log.dirs": str(data),
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "listeners": f"{listeners}{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            # A static list of voters, so that the controller can use another port at each start.
            "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
            **self._settings,
        }
        properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        if not (data / "meta.properties").exists():
            self._format(str(properties))
        self.process.spawn(java_command("kafka.Kafka", str(properties), options=(*_JVM, *self.jvm)), cwd=self.directory)

    def _format(self, properties: str) -> None:
        command = java_command(
            "kafka.tools.StorageTool",
            *("format", "--cluster-id", self._cluster, "--config", properties),
            options=QUICK_START,
            log_level="WARN",
        )
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise PartFailedError(f"Kafka could not format its storage:\n{done.stdout}{done.stderr}")

    def _answers(self) -> bool:
        return kafka_answers(self.bootstrap)
