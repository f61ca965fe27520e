"""Two families of errors: the caller's, who can mend what was sent or set, and ours, which an operator must see."""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg
from aiokafka.errors import KafkaError


class CallerError(Exception):
    """The caller can mend it; the message says how."""


class ConfigurationError(CallerError):
    """A setting or a file of settings is wrong."""


class InvariantError(Exception):
    """What must always be true is not. Ours, never the caller's: stop and show it."""


_RETRIED_CLASSES: Final = ("08", "40", "53", "57", "58")
"""SQLSTATE classes: connection, rollback, resources, operator intervention, system error."""
_RETRIED_STATES: Final = ("55P03", "25P04")
"""A lock time-out, and a transaction time-out (after which the server ends the session)."""


def is_transient(error: BaseException) -> bool:
    """Whether waiting can mend it: the database or the broker is away, restarting, full or busy."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_transient(one) for one in error.exceptions)
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state.startswith(_RETRIED_CLASSES) or state in _RETRIED_STATES
    if isinstance(error, asyncpg.InterfaceError):
        return "closed" in str(error) or "released" in str(error)
    if isinstance(error, asyncpg.InternalClientError):
        return True  # what asyncpg says of a server that ends the session in the middle of a COPY
    return isinstance(error, KafkaError | OSError | TimeoutError | asyncio.TimeoutError | EOFError)


_NO_RECORDS_FAULT: Final = ("0A", "25", "26", "28", "34", "3D", "3F", "42", "55")
"""SQLSTATE classes: features, transaction state, names and privileges. The schema or the set-up is wrong."""


def may_lie_in_a_record(error: BaseException) -> bool:
    """Whether another record might pass: an error of the set-up or of the connection says nothing about records."""
    if isinstance(error, asyncpg.PostgresError):
        return not (error.sqlstate or "").startswith(_NO_RECORDS_FAULT)
    return not isinstance(error, asyncpg.InterfaceError) or isinstance(error, ValueError)
