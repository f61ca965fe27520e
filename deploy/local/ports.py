"""Ports on 127.0.0.1."""

from __future__ import annotations

import os
import random
import socket

from deploy.local.errors import LocalError

RANGE_ENV = "DDOR_LOCAL_PORTS"
"""The first and the last port for local parts, such as `20000-31999`."""
LOOPBACK = "127.0.0.1"

# Below the ephemeral ports of Linux (32768-) and macOS (49152-). With a port in that range, a client that keeps
# reconnecting to a killed server can get the server's port as its source port and connect to itself. The server then
# cannot bind its port again.
FIRST, LAST = 20_000, 31_999

_random = random.SystemRandom()
_given: set[int] = set()


def _range() -> range:
    """The ports to choose from. Raises LocalError if DDOR_LOCAL_PORTS is invalid."""
    text = os.environ.get(RANGE_ENV, f"{FIRST}-{LAST}")
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 1_024 <= int(first) <= int(last) < 65_536):
        raise LocalError(f"{RANGE_ENV} must be a range of ports, such as {FIRST}-{LAST}, not {text!r}")
    return range(int(first), int(last) + 1)


def is_free(port: int) -> bool:
    """Whether a server can listen on this port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of a stopped server in TIME_WAIT do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port() -> int:
    """A free port, a different one at each call: a server that is stopped for a moment keeps its port.

    It is not reserved for other processes: bind it soon. Raises LocalError if a hundred attempts fail.
    """
    ports = _range()
    unused = [port for port in ports if port not in _given] or ports
    for _ in range(100):
        port = _random.choice(unused)
        if is_free(port):
            _given.add(port)
            return port
    raise LocalError(f"no free port between {ports.start} and {ports.stop - 1} on {LOOPBACK}")


def port_or_free(wanted: int) -> int:
    """`wanted`, or a free port if it is 0 or in use."""
    return wanted if wanted and is_free(wanted) else free_port()
