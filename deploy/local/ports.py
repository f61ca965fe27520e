"""Ports on 127.0.0.1."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"

# Below the range from which Linux (32768-) and macOS (49152-) take the source port of an outgoing
# connection. From inside it, a client that keeps trying to reach a killed server is in the end given the
# server's own port as source, connects to itself, and the server cannot bind its port again.
_FIRST, _LAST = 20_000, 32_000

_random = random.SystemRandom()


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of a stopped server that are in TIME_WAIT do not make the port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that nothing listens on. It is not reserved: bind it soon.

    Raises OSError when a hundred ports in a row are taken.
    """
    for _ in range(100):
        port = _random.randrange(_FIRST, _LAST)
        if is_free(port):
            return port
    raise OSError(f"no free port between {_FIRST} and {_LAST} on {LOOPBACK}")


def port_or_free(wanted: int) -> int:
    """`wanted` unless it is 0 or taken; then a free one."""
    return wanted if wanted and is_free(wanted) else free_port()
