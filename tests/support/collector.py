"""An OpenTelemetry collector on loopback: receives OTLP over HTTP and keeps the spans."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from services.runtime.tracing import Attributes
from tests.support.waiting import until


class Collector:
    """The received spans. While `open` is cleared it does not respond; it responds with `status`."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        self.requests = 0
        self.status = 200
        self.open = threading.Event()
        self.open.set()
        self.address = ""

    def received(self, body: bytes) -> int:
        """Keep the spans of one request. Returns the status of the response."""
        self.requests += 1
        if self.status == 200:
            for one in ExportTraceServiceRequest.FromString(body).resource_spans:
                about = {pair.key: pair.value.string_value for pair in one.resource.attributes}
                self.services.add(about["service.name"])
                self.spans += [span for scope in one.scope_spans for span in scope.spans]
        return self.status

    def named(self, name: str) -> list[Span]:
        """The spans of this name."""
        return [one for one in self.spans if one.name == name]

    async def wait_for(self, name: str, count: int = 1) -> list[Span]:
        """Wait until there are this many spans of this name."""

        async def there() -> bool:
            return len(self.named(name)) >= count

        await until(there, f"{count} spans {name!r}, not only {[one.name for one in self.spans]}")
        return self.named(name)


def attributes(span: Span) -> dict[str, str | int | bool]:
    """The attributes of a span."""
    values: Attributes = {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "") for pair in span.attributes
    }
    return dict(values)


def parent(trace: str = "0af7651916cd43dd8448eb211c80319c", flags: str = "01") -> str:
    """A traceparent."""
    return f"00-{trace}-b7ad6b7169203331-{flags}"


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.open.wait()
            self.send_response(collector.received(body) if self.path == "/v1/traces" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # the client did not wait for the response
                return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.open.set()
        server.shutdown()
        server.server_close()
        thread.join()
