"""``python -m deploy.local``: bring the system up on this machine, look at it, end it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console

from deploy.local import parts
from deploy.local.errors import LocalError, PartUnavailableError
from deploy.local.parts import KafkaPart, Kind, PostgresPart
from deploy.local.ports import port_or_free
from deploy.local.private_files import locked
from deploy.local.stack import SERVICES, Stack
from deploy.local.state import Record, State

# Not containers unless asked for: processes keep everything in the state directory.
_KAFKA_ORDER: tuple[Kind, ...] = ("settings", "native", "embedded", "docker")
_POSTGRES_ORDER: tuple[Kind, ...] = ("settings", "native", "docker")

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The system on this machine.")
_console = Console(highlight=False, soft_wrap=True)

StateDir = Annotated[Path, typer.Option("--state-dir", help="Where data, logs and the env file are.")]
KafkaKind = Annotated[str | None, typer.Option("--kafka", help="native, docker or embedded.")]
PostgresKind = Annotated[str | None, typer.Option("--postgres", help="native or docker.")]


@app.command()
def up(state_dir: StateDir = Path(".local"), kafka: KafkaKind = None, postgres: PostgresKind = None) -> None:
    """Bring everything up in the background; return when it is ready."""
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
    _step(f"for any client: source {os.path.relpath(state.env_file)}")


@app.command()
def down(
    state_dir: StateDir = Path(".local"),
    delete: Annotated[bool, typer.Option("--delete", help="Delete data, keys and logs too.")] = False,
) -> None:
    """End what `up` started. Data stay, unless --delete is given."""
    state = State(state_dir)
    if not state.directory.is_dir():
        _console.print("nothing is up")
        return
    with locked(state.lock):
        record = state.read_record()
        if record is None:
            _console.print("nothing is up")
            return
        Stack(state_dir, *_recorded(state, record)).down(delete=delete)
    _step("ended" + (" and deleted" if delete else "; data are kept"))


@app.command()
def status(state_dir: StateDir = Path(".local")) -> None:
    """One line for each part and service. Exit code 1 if one of them is not as it should be."""
    state = State(state_dir)
    record = state.read_record()
    if record is None:
        _console.print("nothing is up")
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
    """Which Kafka and PostgreSQL tests would use here, which `up` would, and what is missing for others."""
    nowhere = Path()
    for purpose, kafka_order, postgres_order in (
        ("tests", parts.BEST_FIRST, parts.BEST_FIRST),
        ("up", _KAFKA_ORDER, _POSTGRES_ORDER),
    ):
        for what, choose, order in (
            ("Kafka", parts.choose_kafka, kafka_order),
            ("PostgreSQL", parts.choose_postgres, postgres_order),
        ):
            try:
                name = choose(nowhere, order=order).name
            except PartUnavailableError as none:
                name = str(none)
            _console.print(f"{what} for {purpose}: {name}")
    for sentence in parts.missing():
        _console.print(f"missing: {sentence}")


def _chosen(state: State, kafka: str | None, postgres: str | None) -> tuple[KafkaPart, PostgresPart]:
    """The parts for `up`: those recorded, if any, since data of one kind are no data for another."""
    record = state.read_record()
    for wanted, had in ((kafka, record and record.kafka), (postgres, record and record.postgres)):
        if wanted and had and wanted != had:
            raise PartUnavailableError(
                f"the data in {state.directory} are for {had}, not {wanted}: `down --delete` first"
            )
    if record is not None:
        return _recorded(state, record)
    place = state.directory
    return (
        parts.choose_kafka(place / "kafka", kind=cast("Kind | None", kafka), order=_KAFKA_ORDER),
        parts.choose_postgres(place / "postgres", kind=cast("Kind | None", postgres), order=_POSTGRES_ORDER),
    )


def _recorded(state: State, record: Record) -> tuple[KafkaPart, PostgresPart]:
    # A server that the settings named is found under the name it had, also from a shell without the settings.
    named = state.read_env() | dict(os.environ)
    named.pop(parts.OWN_ENV, None)
    place = state.directory
    return (
        parts.build(parts.kafka_sources(named), record.kafka, place / "kafka"),
        parts.build(parts.postgres_sources(named), record.postgres, place / "postgres"),
    )


def _usual_ports() -> dict[str, int]:
    """The services' documented ports, and another for one that is taken."""
    return {name: port_or_free(8081 + number) for number, name in enumerate(SERVICES)}


def _named_week() -> str | None:
    return None if parts.OWN_ENV in os.environ else os.environ.get("DDOR_FIRST_WEEK")


def _step(line: str) -> None:
    _console.print(f"[green]✓[/green] {line}")


def main() -> None:
    """Run the command line; an error of ours is a message and exit code 1, not a traceback."""
    try:
        app()
    except LocalError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"✗ {error}", style="red", markup=False)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
