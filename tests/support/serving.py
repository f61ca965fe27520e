"""The endpoints of ingest and publisher on the real server, over loopback; Kafka and PostgreSQL are fakes."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from starlette.applications import Starlette

from services.ingest.limits import ConcurrencyLimiter
from services.publisher.site import routes as readers
from services.publisher.site.about import About
from services.publisher.site.openapi import document
from services.publisher.site.reader_pool import CONNECTIONS
from services.runtime import http, http_server, openapi, postgres
from services.runtime.clock import system
from services.runtime.connection_limits import ConnectionLimiter
from services.runtime.settings import Settings
from services.runtime.tls.reloaded import Reloaded
from tests.support.agencies import LAS_VEGAS, key_of
from tests.unit import sample_endpoint
from tests.unit.sample_endpoint import Producer
from tests.unit.sample_events import encoded, event
from tests.unit.sample_reader import Pool, routes


class Site(NamedTuple):
    """One service: its port, the values of template placeholders, and the stored events."""

    name: str
    port: int
    good: int
    words: dict[bytes, bytes]
    producer: Producer
    limiter: ConcurrencyLimiter


async def _ready() -> str | None:
    return None


@asynccontextmanager
async def listening(
    app: Starlette,
    limiter: ConnectionLimiter | None = None,
    tls: Reloaded[ssl.SSLContext] | None = None,
    health_port: int | None = None,
) -> AsyncIterator[int]:
    """Serve an application with the real server in a thread with its event loop. Yields the port."""
    server = http_server.server(app, "127.0.0.1", 0, limiter, tls=tls, health_port=health_port)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(asyncio.to_thread(server.run, [listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            await task


@asynccontextmanager
async def ingest(
    directory: Path, limiter: ConnectionLimiter | None = None, tls: Reloaded[ssl.SSLContext] | None = None
) -> AsyncIterator[Site]:
    """Ingest."""
    producer = Producer()
    endpoint = sample_endpoint.endpoint(directory, producer)
    app = http.application(endpoint.routes, _ready, nullcontext, endpoint.stopping)
    async with listening(app, limiter, tls) as port:
        yield Site("ingest", port, 202, words(b"POST", b"/v1/events", encoded(event())), producer, endpoint._requests)


@asynccontextmanager
async def publisher(tls: Reloaded[ssl.SSLContext] | None = None) -> AsyncIterator[Site]:
    """The publisher."""
    reports = routes(Pool())
    app = http.application(reports.routes, _ready, nullcontext)
    async with reports.connected(), listening(app, tls=tls) as port:
        yield Site("publisher", port, 200, words(b"GET", b"/v1/reports", b"{}"), Producer(), ConcurrencyLimiter())


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[str]:
    """The routes for readers with the database of the settings. Yields the address."""
    about, stopping = About.of(settings), asyncio.Event()
    site = readers.Site(lambda: postgres.pool(settings, "ddor-test-site", CONNECTIONS), about, system, stopping)
    routes = [*site.routes, *openapi.routes(document())]
    async with listening(http.application(routes, site.waiting_for, site.connected, stopping)) as port:
        yield f"http://127.0.0.1:{port}"


def _chunk(piece: bytes, more: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(piece), more, piece)


def words(method: bytes, path: bytes, body: bytes) -> dict[bytes, bytes]:
    """The values of the template placeholders."""
    key = b"Authorization: Bearer " + key_of(LAS_VEGAS).encode() + b"\r\n"
    nokey = b"Content-Type: application/cloudevents+json\r\n"
    line = method + b" " + path + b" HTTP/1.1\r\n"
    fields, length = b"Host: here\r\n" + key + nokey, b"Content-Length: %d\r\n" % len(body)
    half = len(body) // 2
    document = event()
    data, time = encoded(document.pop("data")), b"ce-time: " + str(document.pop("time")).encode() + b"\r\n"
    attributes = b"".join(b"ce-%s: %s\r\n" % (name.encode(), str(document[name]).encode())
                          for name in document if name != "datacontenttype")  # fmt: skip
    binary = b"Host: here\r\n" + key + b"Content-Type: application/json\r\n"
    single = body + b"\n"
    return {
        b"GOOD": line + fields + length + b"\r\n" + body,
        b"LINE": line,
        b"METHOD": method,
        b"PATH": path,
        b"TAIL": path.removeprefix(b"/v1/"),
        b"FIELDS": fields,
        b"UPPER": fields.replace(b"Host:", b"HOST:").replace(b"Authorization:", b"AUTHORIZATION:"),
        b"NOKEY": nokey,
        b"KEY": key,
        b"CL": length,
        b"BODY": body,
        b"HALF": body[:half],
        b"CHUNKS": _chunk(body[:half]) + _chunk(body[half:]),
        b"EXTENDED": _chunk(body[:half], b";a=b") + _chunk(body[half:], b';c="d"'),
        b"BINARY": binary,
        b"TIMELESS": binary + attributes,
        b"TIME": time,
        b"DATA": _chunk(data),
        b"LINES": b"Host: here\r\n" + key + b"Content-Type: application/x-ndjson\r\n",
        b"ONELINE": _chunk(single),
        b"PLAINLINE": single,
        b"SIZE": b"%d" % len(single),
    }


def fill(template: bytes, known: dict[bytes, bytes]) -> bytes:
    """The template with the values of a service."""
    for name, value in known.items():
        template = template.replace(b"{" + name + b"}", value)
    return template
