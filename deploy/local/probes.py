"""Checks whether a server responds. They can be called with or without a running event loop."""

from __future__ import annotations

import asyncio
import http.client
import socket
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import asyncpg

from deploy.local.errors import PartFailedError
from deploy.local.ports import LOOPBACK

_API_VERSIONS, _METADATA = 18, 3


def wait_until(
    answers: Callable[[], bool], *, seconds: float, what: str, alive: Callable[[], bool] = lambda: True
) -> None:
    """Call `answers` until it returns true.

    Raises PartFailedError, with the name `what`, if `alive` returns false or after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not answers():
        if not alive():
            raise PartFailedError(f"{what} exited before it responded")
        if time.monotonic() > deadline:
            raise PartFailedError(f"{what} did not respond within {seconds:.0f} s")
        time.sleep(0.05)


def kafka_answers(bootstrap: str, timeout: float = 2.0) -> bool:
    """Whether a broker at one of the addresses responds and lists at least one registered broker.

    Speaks Kafka's protocol directly, because client libraries log every refused connection.
    """
    return any(_broker_answers(address.strip(), timeout) for address in bootstrap.split(","))


def _broker_answers(address: str, timeout: float) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout) as connection:
            connection.settimeout(timeout)
            _ask(connection, _API_VERSIONS, version=0, body=b"")
            # Metadata version 1 without topics: correlation id, then the list of brokers.
            metadata = _ask(connection, _METADATA, version=1, body=struct.pack(">i", 0))
    except (OSError, ValueError):
        return False
    return len(metadata) >= 8 and struct.unpack_from(">i", metadata, 4)[0] > 0


def _ask(connection: socket.socket, api: int, *, version: int, body: bytes) -> bytes:
    request = struct.pack(">hhih", api, version, 1, -1) + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    return _receive(connection, struct.unpack(">i", _receive(connection, 4))[0])


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionResetError("closed during the response")
        data += piece
    return data


def postgres_answers(dsn: str, timeout: float = 2.0) -> bool:
    """Whether the server accepts a connection with `dsn` and runs a query. False for a wrong password."""

    async def ask() -> bool:
        try:
            async with asyncio.timeout(timeout):
                connection = await asyncpg.connect(dsn)
                try:
                    return bool(await connection.fetchval("SELECT 1") == 1)
                finally:
                    await connection.close()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            return False

    # In a separate thread: the caller may be a fixture inside a running event loop.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, ask()).result()


def http_ready(port: int, path: str = "/readyz", timeout: float = 2.0) -> bool:
    """Whether a GET of `path` on this machine's `port` returns 200. Ignores proxy settings."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
