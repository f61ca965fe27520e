"""deploy.local.ports and deploy.local.probes: free ports, and servers that really respond."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from deploy.local.errors import LocalError, PartFailedError
from deploy.local.ports import LAST, LOOPBACK, RANGE_ENV, free_port, is_free, port_or_free
from deploy.local.probes import http_ready, kafka_answers, postgres_answers, wait_until


class NotReady(BaseHTTPRequestHandler):
    """Alive, and not ready."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/livez" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def web() -> Iterator[int]:
    """The port of a web server, which responds but is neither Kafka nor PostgreSQL."""
    with HTTPServer((LOOPBACK, 0), NotReady) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_used_port_is_replaced_and_a_free_one_reused(web: int) -> None:
    assert not is_free(web)
    assert port_or_free(web) != web
    free = free_port()
    assert port_or_free(free) == free


def test_free_ports_are_outside_the_ephemeral_range() -> None:
    # Otherwise a client that reconnects to a killed server on such a port can connect to itself.
    assert LAST < 32_768


def test_each_free_port_is_another_one() -> None:
    """Otherwise a server could get the port of one that is stopped for a moment."""
    assert len({free_port() for _ in range(200)}) == 200


def test_ports_come_from_the_chosen_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RANGE_ENV, "19100-19119")
    assert {free_port() for _ in range(10)} <= set(range(19_100, 19_120))


@pytest.mark.parametrize("text", ["", "20000", "20000-", "a-b", "30000-20000", "1-65535", "60000-70000"])
def test_an_invalid_range_of_ports_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(RANGE_ENV, text)
    with pytest.raises(LocalError, match="DDOR_LOCAL_PORTS must be a range of ports, such as 20000-31999"):
        free_port()


def test_another_server_on_the_port_is_not_recognized(web: int) -> None:
    assert not kafka_answers(f"{LOOPBACK}:{web}", timeout=0.5)
    assert not postgres_answers(f"postgresql://x:y@{LOOPBACK}:{web}/z", timeout=0.5)


def test_a_closed_port_is_not_a_server() -> None:
    port = free_port()
    assert not kafka_answers(f"{LOOPBACK}:{port}")
    assert not kafka_answers("not an address")
    assert not postgres_answers(f"postgresql://x:y@{LOOPBACK}:{port}/z")
    assert not http_ready(port)


def test_a_silent_server_is_not_recognized() -> None:
    with socket.create_server((LOOPBACK, 0)) as deaf:
        port = deaf.getsockname()[1]
        assert not kafka_answers(f"{LOOPBACK}:{port}", timeout=0.1)
        assert not postgres_answers(f"postgresql://x:y@{LOOPBACK}:{port}/z", timeout=0.1)
        assert not http_ready(port, timeout=0.1)


def test_only_200_means_ready(web: int) -> None:
    assert http_ready(web, "/livez")
    assert not http_ready(web)


async def test_postgresql_can_be_queried_inside_a_running_event_loop() -> None:
    assert not postgres_answers(f"postgresql://x:y@{LOOPBACK}:{free_port()}/z")


def test_waiting_ends_when_the_process_ends_or_at_the_timeout() -> None:
    with pytest.raises(PartFailedError, match="it exited before"):
        wait_until(lambda: False, seconds=60, what="it", alive=lambda: False)
    with pytest.raises(PartFailedError, match="it did not respond within 0 s"):
        wait_until(lambda: False, seconds=0.0, what="it")
