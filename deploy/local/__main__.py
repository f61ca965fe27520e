"""``python -m deploy.local``: start the system on this machine, show its status, stop it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.text import Text

from deploy.local import parts
from deploy.local.errors import LocalError, PartUnavailableError
from deploy.local.parts import KafkaPart, PartSource, PostgresPart
from deploy.local.ports import port_or_free
from deploy.local.private_files import locked
from deploy.local.stack import SERVICES, Stack
from deploy.local.state import Record, State

# Containers last: the data of native processes are in the state directory.
_KAFKA_ORDER: tuple[PartSource, ...] = ("settings", "native", "embedded", "docker")
_POSTGRES_ORDER: tuple[PartSource, ...] = ("settings", "native", "docker")

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Run the whole system on this machine.")
_console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)

StateDir = Annotated[Path, typer.Option("--state-dir", help="Directory for data, logs and the env file.")]
KafkaSource = Annotated[str | None, typer.Option("--kafka", help="native, docker or embedded.")]
PostgresSource = Annotated[str | None, typer.Option("--postgres", help="native or docker.")]


@app.command()
def up(state_dir: StateDir = Path(".local"), kafka: KafkaSource = None, postgres: PostgresSource = None) -> None:
    """Start everything in the background and wait until it is ready."""
    state = State(state_dir)
    with locked(state.lock):
        chosen_kafka, chosen_postgres = _chosen(state, kafka, postgres)
        stack = Stack(
            state_dir,
            chosen_kafka,
            chosen_postgres,
            ports=_usual_ports() if state.read_record() is None else None,
            first_week=_named_week(),
            report=_step,
        )
        stack.up()
    _step(f"to set up a client: source {os.path.relpath(state.env_file)}")


@app.command()
def down(
    state_dir: StateDir = Path(".local"),
    delete: Annotated[bool, typer.Option("--delete", help="Also delete data, keys and logs.")] = False,
) -> None:
    """Stop what `up` started. Data stay unless --delete is given."""
    state = State(state_dir)
    if not state.directory.is_dir():
        _console.print("nothing is running")
        return
    with locked(state.lock):
        record = state.read_record()
        if record is None:
            _console.print("nothing is running")
            return
        Stack(state_dir, *_recorded(state, record)).down(delete=delete)
    _step("stopped" + (" and deleted" if delete else "; data retained"))


@app.command()
def status(state_dir: StateDir = Path(".local")) -> None:
    """Show one line for each part and service. Exit code 1 if one of them is not running or not ready."""
    state = State(state_dir)
    record = state.read_record()
    if record is None:
        _console.print("nothing is running")
        raise typer.Exit(1)
    kafka, postgres = _recorded(state, record)
    good = True
    for part in (kafka, postgres):
        good &= (running := part.running())
        _console.print(f"{'running' if running else 'stopped':<10}{part.name}")
    for service in Stack(state_dir, kafka, postgres).recorded_services():
        good &= (ready := service.ready())
        word = "ready" if ready else "not ready" if service.running() else "stopped"
        _console.print(f"{word:<10}{service.name} at {service.url}")
    raise typer.Exit(0 if good else 1)


@app.command("parts")
def show_parts() -> None:
    """Show which Kafka and PostgreSQL tests and `up` use here, and what is missing for the others."""
    unused = Path()
    for purpose, kafka_order, postgres_order in (
        ("tests", parts.BEST_FIRST, parts.BEST_FIRST),
        ("up", _KAFKA_ORDER, _POSTGRES_ORDER),
    ):
        for what, choose, order in (
            ("Kafka", parts.choose_kafka, kafka_order),
            ("PostgreSQL", parts.choose_postgres, postgres_order),
        ):
            try:
                name = choose(unused, order=order).name
            except PartUnavailableError as error:
                name = str(error)
            _console.print(f"{what} for {purpose}: {name}")
    for sentence in parts.missing():
        _console.print(f"missing: {sentence}")


def _chosen(state: State, kafka: str | None, postgres: str | None) -> tuple[KafkaPart, PostgresPart]:
    """The parts for `up`: the recorded ones, if any, because the data of one source do not work with another."""
    record = state.read_record()
    for wanted, had in ((kafka, record and record.kafka), (postgres, record and record.postgres)):
        if wanted and had and wanted != had:
            raise PartUnavailableError(
                f"the data in {state.directory} belong to {had}, not {wanted}: run `down --delete` first"
            )
    if record is not None:
        return _recorded(state, record)
    directory = state.directory
    return (
        parts.choose_kafka(directory / "kafka", source=cast("PartSource | None", kafka), order=_KAFKA_ORDER),
        parts.choose_postgres(
            directory / "postgres", source=cast("PartSource | None", postgres), order=_POSTGRES_ORDER
        ),
    )


def _recorded(state: State, record: Record) -> tuple[KafkaPart, PostgresPart]:
    # An address from the settings is also found from a shell that does not have these settings.
    named = state.read_env() | dict(os.environ)
    named.pop(parts.OWN_ENV, None)
    directory = state.directory
    return (
        parts.build(parts.kafka_providers(named), record.kafka, directory / "kafka"),
        parts.build(parts.postgres_providers(named), record.postgres, directory / "postgres"),
    )


def _usual_ports() -> dict[str, int]:
    """The services' documented ports; a free port instead of one that is in use."""
    return {name: port_or_free(8081 + number) for number, name in enumerate(SERVICES)}


def _named_week() -> str | None:
    return None if parts.OWN_ENV in os.environ else os.environ.get("DDOR_FIRST_WEEK")


def _step(line: str) -> None:
    _console.print(Text.assemble(("✓", "green"), f" {line}"))


def main() -> None:
    """Run the command line. A LocalError becomes a message and exit code 1, not a traceback."""
    try:
        app()
    except LocalError as error:
        Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True).print(
            f"✗ {error}", style="red"
        )
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
