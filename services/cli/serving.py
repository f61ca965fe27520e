"""`ddor ingest|aggregator|publisher serve`: one process each; SIGTERM drains."""

from __future__ import annotations

import typer

from services.cli.terminal import mends
from services.runtime import http, logs, settings

ingest = typer.Typer(help="Take events from agencies over HTTP and store them in Kafka.", no_args_is_help=True)
aggregator = typer.Typer(help="Count events into PostgreSQL, exactly once.", no_args_is_help=True)
publisher = typer.Typer(help="Close weeks, publish and serve reports.", no_args_is_help=True)


@ingest.callback()
@aggregator.callback()
@publisher.callback()
def _group() -> None:
    pass


@ingest.command("serve")
@mends
def serve_ingest() -> None:
    """Serve POST /v1/events on DDOR_HOST:DDOR_INGEST_PORT until SIGTERM."""
    from services.ingest import app  # noqa: PLC0415  # a command loads only what it runs

    loaded = settings.load()
    logs.configure(loaded, "ingest")
    http.serve(app.create(loaded), loaded.host, loaded.ingest_port)


@aggregator.command("serve")
@mends
def serve_aggregator() -> None:
    """Count, with health and metrics on DDOR_HOST:DDOR_AGGREGATOR_PORT, until SIGTERM."""
    from services.aggregator import app  # noqa: PLC0415

    loaded = settings.load()
    logs.configure(loaded, "aggregator")
    http.serve(app.create(loaded), loaded.host, loaded.aggregator_port)


@publisher.command("serve")
@mends
def serve_publisher() -> None:
    """Close weeks and serve reports on DDOR_HOST:DDOR_PUBLISHER_PORT until SIGTERM."""
    from services.publisher import app  # noqa: PLC0415

    loaded = settings.load()
    logs.configure(loaded, "publisher")
    http.serve(app.create(loaded), loaded.host, loaded.publisher_port)
