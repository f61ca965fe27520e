"""deploy.local.stack with a stand-in for the project's command line and parts that are somewhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.errors import PartFailedError
from deploy.local.named import NamedKafka, NamedPostgres
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


class Somewhere(NamedKafka):
    """A Kafka that is always there."""

    def start(self) -> None:
        pass


class SomewhereElse(NamedPostgres):
    """A PostgreSQL that is always there."""

    def start(self) -> None:
        pass


class Builder:
    """Stacks on one state directory, all ended at the end."""

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


def test_up_makes_schema_and_topics_and_then_starts_the_services(stack: Builder) -> None:
    built = stack()
    built.up()
    assert stack.calls()[:2] == ["migrate", "topics apply"]
    assert sorted(stack.calls()[2:]) == ["aggregator serve", "ingest serve", "publisher serve"]
    assert all(service.ready() for service in built.services.values())
    assert sum("is ready at" in line for line in stack.lines) == 3


def test_a_second_up_finds_it_running(stack: Builder) -> None:
    first, second = stack(), stack()
    first.up()
    second.up()
    for name, service in first.services.items():
        assert second.services[name].url == service.url
        assert second.services[name].process.find() == service.process.find()


def test_ports_key_and_week_are_those_of_the_last_time(stack: Builder) -> None:
    first = stack()
    first.up()
    first.down()
    second = stack()
    second.up()
    assert second.variables() == first.variables()


def test_the_env_file_has_what_a_client_and_the_commands_need(stack: Builder) -> None:
    built = stack(GRACE="1s")
    built.up()
    env = State(stack.directory).read_env()
    assert env == built.variables()
    assert env["DDOR_INGEST_URL"] == built.services["ingest"].url
    assert env["DDOR_POSTGRES_DSN"] == "postgresql://db.example/x"
    assert env["DDOR_AGENCY"] == "demo"
    assert env["DDOR_GRACE"] == "1s"
    assert "DDOR_KAFKA_REPLICATION" not in env  # somebody else's Kafka may have three brokers


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


def test_down_is_the_same_once_and_twice(stack: Builder) -> None:
    stack().up()
    stack().down()
    stack().down()


@pytest.mark.parametrize("broken", ["migrate", "topics", "ingest"])
def test_what_breaks_is_named_with_the_end_of_its_log(stack: Builder, broken: str) -> None:
    with pytest.raises(PartFailedError, match=rf"(?s){broken}.*it broke"):
        stack(BREAKS=broken).up()


def test_the_environment_is_ours_with_the_settings_over_it(stack: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDOR_POSTGRES_DSN", "postgresql://stale.example/")
    built = stack()
    built.prepare()
    assert built.environment()["DDOR_POSTGRES_DSN"] == "postgresql://db.example/x"
    assert built.environment()["PATH"] == os.environ["PATH"]
    assert "topics apply" in stack.calls()
