"""services.runtime.errors: which errors are transient."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, NodeNotReadyError, RequestTimedOutError

from services.runtime.errors import CallerError, ConfigurationError, InvariantError, is_transient


def postgres(sqlstate: str) -> asyncpg.PostgresError:
    """The error that asyncpg creates from a server message."""
    error = asyncpg.PostgresError.new({"C": sqlstate, "M": "planted"})
    assert isinstance(error, asyncpg.PostgresError)
    return error


@pytest.mark.parametrize(
    ("sqlstate", "what"),
    [
        ("08000", "connection"),
        ("08006", "connection failure"),
        ("40001", "serialization failure"),
        ("40P01", "deadlock"),
        ("53100", "disk full"),
        ("53300", "too many connections"),
        ("57014", "statement cancelled"),
        ("57P01", "shut down by an operator"),
        ("57P03", "starting up"),
        ("58030", "input or output"),
        ("55P03", "lock time-out"),
        ("25P04", "transaction time-out"),
    ],
)
def test_an_unavailable_or_busy_database_is_transient(sqlstate: str, what: str) -> None:
    assert is_transient(postgres(sqlstate)), what


@pytest.mark.parametrize(
    ("sqlstate", "what"),
    [
        ("22001", "value too long"),
        ("22P02", "malformed value"),
        ("23505", "not unique"),
        ("23514", "check violated"),
        ("25006", "read only"),
        ("25P02", "failed transaction"),
        ("28P01", "wrong password"),
        ("42501", "not allowed"),
        ("42P01", "no such table"),
        ("55000", "not in the right state"),
        ("XX000", "internal"),
        ("", "unknown"),
    ],
)
def test_wrong_settings_and_statements_are_not_transient(sqlstate: str, what: str) -> None:
    assert not is_transient(postgres(sqlstate)), what


def test_an_error_without_a_state_is_not_transient() -> None:
    assert not is_transient(asyncpg.PostgresError("planted"))


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.TransactionTimeoutError("terminating"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.InternalClientError("got result for unknown protocol state 3"),
        asyncpg.InterfaceError("cannot call Connection.fetch(): connection is closed"),
        asyncpg.InterfaceError("cannot call Connection.fetch(): connection has been released back to the pool"),
        KafkaError(),
        KafkaConnectionError(),
        NodeNotReadyError(),
        RequestTimedOutError(),
        OSError("planted"),
        ConnectionRefusedError(),
        TimeoutError(),
        asyncio.IncompleteReadError(b"", 4),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_broken_connection_is_transient(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InterfaceError("cannot perform operation: another operation is in progress"),
        InvariantError("planted"),
        ConfigurationError("planted"),
        CallerError("planted"),
        ValueError("planted"),
        KeyError("planted"),
        AssertionError("planted"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_defect_is_not_transient(error: Exception) -> None:
    assert not is_transient(error)


def test_configuration_errors_are_the_callers_and_invariant_errors_are_defects() -> None:
    assert issubclass(ConfigurationError, CallerError)
    assert not issubclass(InvariantError, CallerError)
