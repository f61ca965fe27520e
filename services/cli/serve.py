"""`ddor ingest serve`, `ddor aggregator serve` and `ddor publisher serve`: one process each."""

from __future__ import annotations

import errno
import gc
import socket
from importlib import import_module

import typer

from services.cli.console import report_caller_errors
from services.runtime import http, logs, settings, tracing
from services.runtime.errors import ConfigurationError

_SERVE = """{serves} until the process receives SIGTERM.

Listens on DDOR_HOST and {setting}. After SIGTERM it completes the work in progress and exits. /livez, /readyz and
/metrics report its state."""


def _check_address(host: str, port: int, setting: str) -> None:
    """Raises ConfigurationError, which names the setting, if the server cannot listen at this address."""
    refused: list[OSError] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            try:
                with socket.socket(family, kind, protocol) as trial:
                    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    trial.bind(address)
            except OSError as error:
                refused.append(error)
        # If IPv4 or IPv6 is missing, the server listens on the other one.
        hard = [one for one in refused if len(refused) == len(found) or one.errno in (errno.EADDRINUSE, errno.EACCES)]
    except socket.gaierror as error:
        hard = [error]
    if hard:
        why = f"cannot listen on {host}:{port} ({hard[0].strerror}): change DDOR_HOST or {setting}"
        raise ConfigurationError(why)


def service(name: str, summary: str, serves: str) -> typer.Typer:
    """The command group of one service. Its app is in `services.NAME.app`; its port is the setting `NAME_port`."""
    group = typer.Typer(help=summary, no_args_is_help=True)

    @group.callback()
    def _group() -> None:
        pass

    @group.command("serve", help=_SERVE.format(serves=serves, setting=f"DDOR_{name.upper()}_PORT"))
    @report_caller_errors
    def serve() -> None:
        loaded = settings.load()
        logs.configure(loaded, name)
        tracing.start(loaded, name)
        port = getattr(loaded, f"{name}_port")
        _check_address(loaded.host, port, f"DDOR_{name.upper()}_PORT")
        gc.disable()  # as in `main`; `http.serve` enables it again
        app = import_module(f"services.{name}.app")  # import only the service that runs
        http.serve(
            app.create(loaded),
            loaded.host,
            port,
            connections=loaded.connections,
            per_address=loaded.connections_per_address,
            ended=tracing.stop,
        )

    return group


ingest = service("ingest", "Receive events from agencies over HTTP and store them in Kafka.", "Serve POST /v1/events")
aggregator = service("aggregator", "Count events from Kafka in PostgreSQL.", "Count events and serve metrics")
publisher = service("publisher", "Close weeks, publish reports and serve them.", "Close weeks and serve reports")
