"""deploy.local.ports and deploy.local.probes: a port that can be had, a server that truly answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from deploy.local.errors import PartFailedError
from deploy.local.ports import LOOPBACK, free_port, is_free, port_or_free
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
    """The port of a web server: something that answers, but neither Kafka nor PostgreSQL."""
    with HTTPServer((LOOPBACK, 0), NotReady) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_taken_port_is_replaced_and_a_free_one_kept(web: int) -> None:
    assert not is_free(web)
    assert port_or_free(web) != web
    free = free_port()
    assert port_or_free(free) == free


def test_free_ports_are_none_that_a_client_may_be_given() -> None:
    # Or a client that tries to reach a killed server on such a port ends up connected to itself.
    assert all(free_port() < 32_768 for _ in range(20))


def test_another_server_on_the_port_does_not_count_as_an_answer(web: int) -> None:
    assert not kafka_answers(f"{LOOPBACK}:{web}", timeout=0.5)
    assert not postgres_answers(f"postgresql://x:y@{LOOPBACK}:{web}/z", timeout=0.5)


def test_nobody_there_is_no_answer() -> None:
    port = free_port()
    assert not kafka_answers(f"{LOOPBACK}:{port}")
    assert not kafka_answers("not an address")
    assert not postgres_answers(f"postgresql://x:y@{LOOPBACK}:{port}/z")
    assert not http_ready(port)


def test_a_server_that_accepts_and_says_nothing_is_no_answer() -> None:
    with socket.create_server((LOOPBACK, 0)) as deaf:
        port = deaf.getsockname()[1]
        assert not kafka_answers(f"{LOOPBACK}:{port}", timeout=0.1)
        assert not postgres_answers(f"postgresql://x:y@{LOOPBACK}:{port}/z", timeout=0.1)
        assert not http_ready(port, timeout=0.1)


def test_ready_is_200_and_nothing_else(web: int) -> None:
    assert http_ready(web, "/livez")
    assert not http_ready(web)


async def test_postgresql_can_be_asked_from_inside_a_running_loop() -> None:
    assert not postgres_answers(f"postgresql://x:y@{LOOPBACK}:{free_port()}/z")


def test_waiting_ends_when_the_process_has_ended_or_the_time_is_over() -> None:
    with pytest.raises(PartFailedError, match="it ended before"):
        wait_until(lambda: False, seconds=60, what="it", alive=lambda: False)
    with pytest.raises(PartFailedError, match="it did not answer within 0 s"):
        wait_until(lambda: False, seconds=0.0, what="it")
