"""`ddor ingest|aggregator|publisher serve`: one process each; SIGTERM drains."""

from __future__ import annotations

from importlib import import_module

import typer

from services.cli.terminal import mends
from services.runtime import http, logs, settings


def service(name: str, does: str, serves: str) -> typer.Typer:
    """The commands of the service `name`: its code is services.NAME.app, its port the setting NAME_port."""
    group = typer.Typer(help=does, no_args_is_help=True)

    @group.callback()
    def _group() -> None:
        pass

    @group.command("serve", help=f"{serves} on DDOR_HOST:DDOR_{name.upper()}_PORT, until SIGTERM.")
    @mends
    def serve() -> None:
        loaded = settings.load()
        logs.configure(loaded, name)
        app = import_module(f"services.{name}.app")  # a command loads only what it runs
        http.serve(app.create(loaded), loaded.host, getattr(loaded, f"{name}_port"))

    return group


ingest = service("ingest", "Take events from agencies over HTTP and store them in Kafka.", "Serve POST /v1/events")
aggregator = service("aggregator", "Count events into PostgreSQL, exactly once.", "Count, with health and metrics")
publisher = service("publisher", "Close weeks, publish and serve reports.", "Close weeks and serve reports")
