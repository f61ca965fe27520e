"""`ddor ingest serve`, `ddor aggregator serve` and `ddor publisher serve`: one process each."""

from __future__ import annotations

import errno
import gc
import socket
from importlib import import_module

import typer

from services.cli.console import report_caller_errors
from services.runtime import http_server, logs, settings, tracing
from services.runtime.errors import ConfigurationError
from services.runtime.settings import Settings
from services.runtime.tls import expiry
from services.runtime.tls import server as tls_server

_SERVE = """{serves} until the process receives SIGTERM.

Listens on DDOR_HOST and {setting}, with TLS if DDOR_TLS_CERT_FILE and DDOR_TLS_KEY_FILE are set. After SIGTERM it
completes the work in progress and exits. /livez, /readyz and /metrics report its state, on DDOR_METRICS_PORT if it is
set."""


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


def _check_addresses(loaded: Settings, port: int, setting: str) -> None:
    _check_address(loaded.host, port, setting)
    if loaded.metrics_port == port:
        raise ConfigurationError(f"DDOR_METRICS_PORT must differ from {setting}")
    if loaded.metrics_port is not None:
        _check_address(loaded.host, loaded.metrics_port, "DDOR_METRICS_PORT")


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
        _check_addresses(loaded, port, f"DDOR_{name.upper()}_PORT")
        tls = tls_server.contexts(loaded)
        gc.disable()  # as in `main`; `http_server.serve` enables it again
        app = import_module(f"services.{name}.app")  # import only the service that runs
        http_server.serve(
            app.create(loaded),
            loaded.host,
            port,
            connections=loaded.connections,
            per_address=loaded.connections_per_address,
            tls=tls,
            health_port=loaded.metrics_port,
            certificates=expiry.configured(loaded),
            ended=tracing.stop,
        )

    return group


ingest = service("ingest", "Receive events from agencies over HTTP and store them in Kafka.", "Serve POST /v1/events")
aggregator = service("aggregator", "Count events from Kafka in PostgreSQL.", "Count events and serve metrics")
publisher = service("publisher", "Close weeks, publish reports and serve them.", "Close weeks and serve reports")
