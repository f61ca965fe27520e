"""The process's limit on open file descriptors."""

from __future__ import annotations

import resource

from services.runtime.connection_limits import REFUSALS
from services.runtime.errors import ConfigurationError

OTHERS = 192
"""Descriptors for anything but client connections: Kafka, PostgreSQL, files, the event loop."""


def ensure(connections: int) -> None:
    """Raise the soft limit of this process if it is too low for this many connections.

    Raises ConfigurationError if the hard limit is too low as well.
    """
    needed = connections + REFUSALS + OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigurationError(
            f"{connections:,} connections need {needed:,} open files, but the limit of this process is {hard:,}: "
            "raise it (ulimit -n, LimitNOFILE, --ulimit nofile) or lower DDOR_CONNECTIONS"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
