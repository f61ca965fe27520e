"""The whole system on this machine: Kafka, PostgreSQL and the three services."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from deploy.local.databases import database_dsn, ensure_database
from deploy.local.errors import PartFailedError, log_tail
from deploy.local.parts import OWN_ENV, KafkaPart, PostgresPart
from deploy.local.ports import LOOPBACK, port_or_free
from deploy.local.service import Service
from deploy.local.state import AGENCY, Record, State
from schemas.week import ReportingCalendar, Weekday

SERVICES = ("ingest", "aggregator", "publisher")
DATABASE = "ddor"
_COMMAND = (sys.executable, "-m", "services.cli.main")
_SETUP_SECONDS = 120.0


class Stack:
    """Starts and stops the system of one state directory. Steps that are already done are skipped."""

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
        ports: by service name. 0 or absent: the port used before in this directory, or any free port.
        first_week: DDOR_FIRST_WEEK. None: the recorded one, else the current week of the calendar, so that imports of
            historical data publish no reports.
        settings: additional DDOR_* variables for services and commands. They override all others.
        command: the project's command line.
        report: called with a line for each step.
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
        """Start parts and services, apply schema and topics, wait until all services are ready. Raises LocalError."""
        self.prepare()
        for service in self.services.values():
            service.spawn()
        for service in self.services.values():
            service.wait_ready()
            self._report(f"{service.name} is ready at {service.url}")

    def prepare(self) -> None:
        """Do everything except for starting the services, which are then in `services`. Raises LocalError."""
        self._record({})  # before the start: `down` must know what an interrupted `up` has started
        self.kafka.start()
        self._report(f"{self.kafka.name} at {self.kafka.bootstrap}")
        self.postgres.start()
        self._report(self.postgres.name)
        if self.postgres.source != "settings":
            ensure_database(self.postgres.dsn, DATABASE)
        self._create_services()
        self.state.write_env(self.variables())
        self.run("migrate")
        self.run("topics", "apply")
        self._report("database schema and topics are up to date")

    def down(self, *, delete: bool = False) -> None:
        """Stop services and parts, in this order. With `delete`, also delete data, keys and settings."""
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
        """Run a command of the project with the stack's settings. Returns its output.

        Raises PartFailedError with the end of the output if it fails or takes more than two minutes.
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
        """The services of an earlier run. They can be queried and stopped, but not started."""
        return [self._found(name, port) for name, port in self._recorded_ports().items()]

    def another(self, role: str, name: str, *, settings: Mapping[str, str] | None = None) -> Service:
        """Another process `name` of the service `role` on a free port, not started. Call `prepare` first."""
        environment = self.environment() | dict(settings or {})
        self.services[name] = self._service(role, name, port_or_free(0), environment)
        return self.services[name]

    def variables(self) -> dict[str, str]:
        """The DDOR_* variables with which clients and commands find the stack."""
        urls = {f"DDOR_{name.upper()}_URL": self.services[name].url for name in SERVICES}
        return {
            **urls,
            "DDOR_AGENCY": AGENCY,
            "DDOR_AGENCY_KEY": self.state.agency_key(),
            **self._connections(),
            **self._calendar_variables(),
            "DDOR_FIRST_WEEK": self._week(),
            "DDOR_AGENCIES_FILE": str(self.state.agencies_file),
            OWN_ENV: str(self.state.directory),
            **self._settings,
        }

    def environment(self) -> dict[str, str]:
        """The complete environment of a command: that of this process, overridden by the stack's variables."""
        return dict(os.environ) | self.variables()

    def _connections(self) -> dict[str, str]:
        # On an external server, use the database that the settings name; on a local server, the stack's database.
        dsn = self.postgres.dsn
        connections = {
            "DDOR_KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "DDOR_POSTGRES_DSN": dsn if self.postgres.source == "settings" else database_dsn(dsn, DATABASE),
        }
        if self.kafka.source != "settings":
            connections["DDOR_KAFKA_REPLICATION"] = "1"
        return connections

    def _week(self) -> str:
        record = self.state.read_record()
        recorded = record.first_week if record else None
        return self._first_week or recorded or str(self._calendar().week_of(datetime.now(UTC)))

    def _calendar_variables(self) -> dict[str, str]:
        """The calendar from the settings, else from the environment, else from the last run."""
        recorded = self.state.read_record() or Record("", "", "")
        known = {"DDOR_ZONE": recorded.zone, "DDOR_WEEK_STARTS_ON": recorded.week_starts_on}
        return {name: self._settings.get(name) or os.environ.get(name) or value for name, value in known.items()}

    def _calendar(self) -> ReportingCalendar:
        """The calendar of the variables. Raises PartFailedError if the services would refuse it."""
        zone, starts_on = self._calendar_variables().values()
        try:
            return ReportingCalendar(ZoneInfo(zone), Weekday[starts_on.upper()])
        except (KeyError, ValueError, OSError) as error:
            wrong = f"DDOR_ZONE={zone} and DDOR_WEEK_STARTS_ON={starts_on}"
            raise PartFailedError(f"{wrong} are not a time zone and a weekday") from error

    def _create_services(self) -> None:
        """Create the services with their ports, and record the stack."""
        used = self._recorded_ports()
        ports: dict[str, int] = {}
        for name in SERVICES:
            running = name in used and self._found(name, 0).running()
            # A requested port that is in use makes the service fail; a recorded one is only preferred.
            ports[name] = used[name] if running else self._ports[name] or port_or_free(used.get(name, 0))
        self._record(ports)
        # Each service's environment contains the addresses of all services.
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

    def _record(self, ports: dict[str, int]) -> None:
        known = self._recorded_ports() | ports
        calendar = self._calendar_variables().values()
        self.state.write_record(Record(self.kafka.source, self.postgres.source, self._week(), known, *calendar))
