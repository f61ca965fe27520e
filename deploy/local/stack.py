"""The whole system on this machine: a Kafka, a PostgreSQL, and the three services on top of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from deploy.local.databases import database_dsn, ensure_database
from deploy.local.errors import PartFailedError, log_tail
from deploy.local.parts import OWN_ENV, KafkaPart, PostgresPart
from deploy.local.ports import LOOPBACK, port_or_free
from deploy.local.service import Service
from deploy.local.state import AGENCY, Record, State, current_week

SERVICES = ("ingest", "aggregator", "publisher")
DATABASE = "ddor"
_COMMAND = (sys.executable, "-m", "services.cli.main")
_SETUP_SECONDS = 120.0


class Stack:
    """Brings the system up in a state directory and ends it. Each step is done only if it is not done yet."""

    def __init__(
        self,
        state: Path,
        kafka: KafkaPart,
        postgres: PostgresPart,
        *,
        ports: Mapping[str, int] | None = None,
        first_week: str | None = None,
        settings: Mapping[str, str] | None = None,
        command: Sequence[str] = _COMMAND,
        report: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """
        ports: by service name; 0 or absent is the port used before in this directory, or any free one.
        first_week: DDOR_FIRST_WEEK; None is the recorded one, else the current week, so that importing
            history publishes nothing by itself.
        settings: more DDOR_* variables for the services and commands, with their prefix; they win.
        command: how to call the project's command line.
        report: gets a line for each step.
        """
        self.state = State(state)
        self.kafka = kafka
        self.postgres = postgres
        self.services: dict[str, Service] = {}
        self._ports = dict.fromkeys(SERVICES, 0) | dict(ports or {})
        self._first_week = first_week
        self._settings = dict(settings or {})
        self._command = list(command)
        self._report = report

    def up(self) -> None:
        """Parts, schema, topics, services; returns when every /readyz is 200. Raises LocalError."""
        self.prepare()
        for service in self.services.values():
            service.spawn()
        for service in self.services.values():
            service.wait_ready()
            self._report(f"{service.name} is ready at {service.url}")

    def prepare(self) -> None:
        """Everything but the services: they are built in `services`, not started. Raises LocalError."""
        self._remember({})  # before anything runs: `down` has to know what an `up` that was cut short began
        self.kafka.start()
        self._report(f"{self.kafka.name} at {self.kafka.bootstrap}")
        self.postgres.start()
        self._report(self.postgres.name)
        if self.postgres.kind != "settings":
            ensure_database(self.postgres.dsn, DATABASE)
        self._place_services()
        self.state.write_env(self.variables())
        self.run("migrate")
        self.run("topics", "apply")
        self._report("database and topics are as the project wants them")

    def down(self, *, delete: bool = False) -> None:
        """End services and parts, in this order; with `delete` also forget data, keys and settings."""
        for pidfile in sorted((self.state.directory / "run").glob("*.pid")):
            self._found(pidfile.stem, 0).stop()
        for part in (self.kafka, self.postgres):
            if delete:
                part.destroy()
            else:
                part.stop()
        if delete:
            self.state.delete()

    def run(self, *arguments: str) -> str:
        """Run a command of the project to its end with the stack's settings; its output.

        Raises PartFailedError with the end of its output if it fails or takes more than two minutes.
        """
        log = self.state.directory / "logs" / f"{'-'.join(arguments[:2])}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as output:
            try:
                done = subprocess.run(
                    [*self._command, *arguments],
                    env=self.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    timeout=_SETUP_SECONDS,
                    check=False,
                )
                ended = None if done.returncode == 0 else f"failed with exit code {done.returncode}"
            except subprocess.TimeoutExpired:
                ended = f"took more than {_SETUP_SECONDS:.0f} s"
        if ended:
            raise PartFailedError(f"the command {' '.join(arguments)} {ended}:\n{log_tail(log)}")
        return log.read_text()

    def recorded_services(self) -> list[Service]:
        """The services of an earlier run, maybe of another process: to be asked and ended, not started."""
        return [self._found(name, port) for name, port in self._recorded_ports().items()]

    def another(self, role: str, name: str, *, settings: Mapping[str, str] | None = None) -> Service:
        """One more process of service `role` under `name`, not started, on a free port. After `prepare`."""
        environment = self.environment() | dict(settings or {})
        self.services[name] = self._service(role, name, port_or_free(0), environment)
        return self.services[name]

    def variables(self) -> dict[str, str]:
        """The DDOR_* variables with which any client, and any command of the project, finds the stack."""
        urls = {f"DDOR_{name.upper()}_URL": self.services[name].url for name in SERVICES}
        return {
            **urls,
            "DDOR_AGENCY": AGENCY,
            "DDOR_AGENCY_KEY": self.state.agency_key(),
            **self._connections(),
            "DDOR_FIRST_WEEK": self._week(),
            "DDOR_AGENCIES_FILE": str(self.state.agencies_file),
            OWN_ENV: str(self.state.directory),
            **self._settings,
        }

    def environment(self) -> dict[str, str]:
        """The whole environment of a command of the project: ours, with the stack's settings over it."""
        return dict(os.environ) | self.variables()

    def _connections(self) -> dict[str, str]:
        # What the settings name is used as it is; of a server of ours, a database of our own.
        dsn = self.postgres.dsn
        connections = {
            "DDOR_KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "DDOR_POSTGRES_DSN": dsn if self.postgres.kind == "settings" else database_dsn(dsn, DATABASE),
        }
        if self.kafka.kind != "settings":
            connections["DDOR_KAFKA_REPLICATION"] = "1"
        return connections

    def _week(self) -> str:
        record = self.state.read_record()
        recorded = record.first_week if record else None
        return self._first_week or recorded or current_week(datetime.now(UTC)).isoformat()

    def _place_services(self) -> None:
        """Build the services on their ports, and record what this stack is made of."""
        used = self._recorded_ports()
        ports: dict[str, int] = {}
        for name in SERVICES:
            running = name in used and self._found(name, 0).running()
            # A fixed port that is taken is an error, which the service will name; a remembered one is a wish.
            ports[name] = used[name] if running else self._ports[name] or port_or_free(used.get(name, 0))
        self._remember(ports)
        # Their addresses are part of the environment that each of them gets.
        self.services = {name: self._found(name, port) for name, port in ports.items()}
        environment = self.environment()
        for name, port in ports.items():
            self.services[name] = self._service(name, name, port, environment)

    def _service(self, role: str, name: str, port: int, environment: Mapping[str, str]) -> Service:
        listening = {"DDOR_HOST": LOOPBACK, f"DDOR_{role.upper()}_PORT": str(port), "DDOR_LOG_FORMAT": "json"}
        argv = [*self._command, role, "serve"]
        return Service(name, argv, env={**environment, **listening}, port=port, state=self.state.directory)

    def _found(self, name: str, port: int) -> Service:
        return Service(name, [], env={}, port=port, state=self.state.directory)

    def _recorded_ports(self) -> dict[str, int]:
        record = self.state.read_record()
        return record.ports if record else {}

    def _remember(self, ports: dict[str, int]) -> None:
        known = self._recorded_ports() | ports
        self.state.write_record(Record(self.kafka.kind, self.postgres.kind, self._week(), known))
