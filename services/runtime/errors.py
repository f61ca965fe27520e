"""Two families of errors: those that the caller can correct, and defects that an operator must see."""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg
from aiokafka.errors import KafkaError


class CallerError(Exception):
    """The caller can correct it. The message says how."""


class ConfigurationError(CallerError):
    """A setting or a configuration file is wrong."""


class AwayError(OSError):
    """PostgreSQL, Kafka or ingest cannot be reached. The message says which, and what to do. It may be temporary."""


class InvariantError(Exception):
    """An invariant is violated: a defect in this program or its data. Stop and report it."""


DATABASE_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""All errors of asyncpg. It raises the last one if the server ends the session in the middle of an exchange."""

_RETRIED_CLASSES: Final = ("08", "40", "53", "57", "58")
"""SQLSTATE classes: connection, rollback, resources, operator intervention, system error."""
_RETRIED_STATES: Final = ("55P03", "25P04")
"""A lock timeout, and a transaction timeout, after which the server ends the session."""


def is_transient(error: BaseException) -> bool:
    """Whether the error may go away by itself: the database or broker is unreachable, restarting, full or busy."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_transient(one) for one in error.exceptions)
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state.startswith(_RETRIED_CLASSES) or state in _RETRIED_STATES
    if isinstance(error, asyncpg.InterfaceError):
        return "closed" in str(error) or "released" in str(error)
    return isinstance(
        error, asyncpg.InternalClientError | KafkaError | OSError | TimeoutError | asyncio.TimeoutError | EOFError
    )


_SETUP_CLASSES: Final = ("0A", "25", "26", "28", "34", "3D", "3F", "42", "55")
"""SQLSTATE classes: features, transaction state, names, privileges. The schema or the setup is wrong."""


def is_data_error(error: BaseException) -> bool:
    """Whether the error may be due to a particular record, not to the setup or the connection."""
    if isinstance(error, asyncpg.PostgresError):
        return not (error.sqlstate or "").startswith(_SETUP_CLASSES)
    return not isinstance(error, asyncpg.InterfaceError) or isinstance(error, ValueError)
