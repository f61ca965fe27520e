"""deploy.local.stack with a fake command line and external parts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import pytest

from deploy.local import stack as stacks
from deploy.local.errors import PartFailedError
from deploy.local.external import ExternalKafka, ExternalPostgres
from deploy.local.stack import Stack
from deploy.local.state import State

COMMAND_LINE = """
import os, pathlib, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()

def main(words):
    with open(pathlib.Path(__file__).with_name("calls"), "a") as calls:
        calls.write(" ".join(words) + "\\n")
    if os.environ.get("DDOR_BREAKS") == words[0]:
        sys.exit("it broke")
    if words[-1] == "serve":
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        port = int(os.environ[f"DDOR_{words[0].upper()}_PORT"])
        HTTPServer((os.environ["DDOR_HOST"], port), Ready).serve_forever()

main(sys.argv[1:])
"""


class Somewhere(ExternalKafka):
    """A Kafka that is always running."""

    def start(self) -> None:
        pass


class SomewhereElse(ExternalPostgres):
    """A PostgreSQL that is always running."""

    def start(self) -> None:
        pass


class Builder:
    """Stacks with one state directory, which are all stopped at the end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "state"
        self.lines: list[str] = []
        self._script = directory / "command_line.py"
        self._script.write_text(COMMAND_LINE)

    def __call__(self, **settings: str) -> Stack:
        return Stack(
            self.directory,
            Somewhere("kafka.example:9092"),
            SomewhereElse("postgresql://db.example/x"),
            settings={f"DDOR_{name}": value for name, value in settings.items()},
            command=[sys.executable, str(self._script)],
            report=self.lines.append,
        )

    def calls(self) -> list[str]:
        return self._script.with_name("calls").read_text().splitlines()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Builder]:
    builder = Builder(tmp_path)
    yield builder
    builder().down(delete=True)


def test_up_creates_schema_and_topics_and_then_starts_the_services(stack: Builder) -> None:
    built = stack()
    built.up()
    assert stack.calls()[:2] == ["migrate", "topics apply"]
    assert sorted(stack.calls()[2:]) == ["aggregator serve", "ingest serve", "publisher serve"]
    assert all(service.ready() for service in built.services.values())
    assert sum("is ready at" in line for line in stack.lines) == 3


def test_a_second_up_finds_the_stack_running(stack: Builder) -> None:
    first, second = stack(), stack()
    first.up()
    second.up()
    for name, service in first.services.items():
        assert second.services[name].url == service.url
        assert second.services[name].process.find() == service.process.find()


def test_ports_key_and_week_are_reused(stack: Builder) -> None:
    first = stack()
    first.up()
    first.down()
    second = stack()
    second.up()
    assert second.variables() == first.variables()


@pytest.mark.parametrize(
    ("calendar", "now", "week"),
    [
        ({}, datetime(2017, 1, 28, 5, 0, tzinfo=UTC), "2017-01-28"),  # Saturday 00:00 in New York
        ({}, datetime(2017, 1, 28, 4, 59, tzinfo=UTC), "2017-01-21"),
        ({}, datetime(2017, 7, 1, 4, 0, tzinfo=UTC), "2017-07-01"),  # summer time
        ({"ZONE": "Europe/Berlin", "WEEK_STARTS_ON": "monday"}, datetime(2017, 1, 29, 23, tzinfo=UTC), "2017-01-30"),
        ({"WEEK_STARTS_ON": "SUNDAY"}, datetime(2017, 1, 28, 12, tzinfo=UTC), "2017-01-22"),
    ],
)
def test_the_first_week_is_the_current_one_of_the_calendar_of_the_settings(
    stack: Builder, monkeypatch: pytest.MonkeyPatch, calendar: dict[str, str], now: datetime, week: str
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return now.astimezone(tz)

    monkeypatch.setattr(stacks, "datetime", Clock)
    for name, value in calendar.items():
        monkeypatch.setenv(f"DDOR_{name}", value)
    built = stack()
    built.prepare()
    assert built.variables()["DDOR_FIRST_WEEK"] == week
    with monkeypatch.context() as shell:
        for name in calendar:
            shell.delenv(f"DDOR_{name}")
        next_time = stack()
        next_time.prepare()
        again = next_time.variables()
    assert again == built.variables(), "the same stack from a shell without these settings"
    assert {name: again[f"DDOR_{name}"] for name in calendar} == calendar


def test_an_invalid_calendar_setting_is_named(stack: Builder) -> None:
    with pytest.raises(PartFailedError, match="DDOR_ZONE=Mars and DDOR_WEEK_STARTS_ON=SATURDAY are not a time zone"):
        stack(ZONE="Mars").prepare()


def test_the_env_file_has_what_a_client_and_the_commands_need(stack: Builder) -> None:
    built = stack(GRACE="1s")
    built.up()
    env = State(stack.directory).read_env()
    assert env == built.variables()
    assert env["DDOR_INGEST_URL"] == built.services["ingest"].url
    assert env["DDOR_POSTGRES_DSN"] == "postgresql://db.example/x"
    assert env["DDOR_AGENCY"] == "demo"
    assert env["DDOR_GRACE"] == "1s"
    assert "DDOR_KAFKA_REPLICATION" not in env  # an external Kafka may have three brokers


def test_a_service_can_be_killed_and_started_again_alone(stack: Builder) -> None:
    built = stack()
    built.up()
    others = {name: built.services[name].process.find() for name in ("ingest", "publisher")}
    built.services["aggregator"].kill()
    assert not built.services["aggregator"].running()
    built.services["aggregator"].start()
    assert built.services["aggregator"].ready()
    assert others == {name: built.services[name].process.find() for name in others}


def test_another_aggregator_runs_beside_the_first_and_ends_with_the_stack(stack: Builder) -> None:
    built = stack()
    built.up()
    second = built.another("aggregator", "aggregator-b")
    second.start()
    assert second.url != built.services["aggregator"].url
    stack().down()  # as another process would
    assert not second.running()
    assert not any(service.running() for service in built.services.values())


def test_down_is_idempotent(stack: Builder) -> None:
    stack().up()
    stack().down()
    stack().down()


@pytest.mark.parametrize("broken", ["migrate", "topics", "ingest"])
def test_a_failed_part_is_named_with_the_end_of_its_log(stack: Builder, broken: str) -> None:
    with pytest.raises(PartFailedError, match=rf"(?s){broken}.*it broke"):
        stack(BREAKS=broken).up()


def test_settings_override_the_environment(stack: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDOR_POSTGRES_DSN", "postgresql://stale.example/")
    built = stack()
    built.prepare()
    assert built.environment()["DDOR_POSTGRES_DSN"] == "postgresql://db.example/x"
    assert built.environment()["PATH"] == os.environ["PATH"]
    assert "topics apply" in stack.calls()
