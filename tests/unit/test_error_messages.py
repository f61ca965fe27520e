"""services.runtime.error_messages: a sentence for external causes, none for defects, and never a row."""

from __future__ import annotations

import asyncpg
import pytest
from aiokafka import errors as kafka

from services.runtime import error_messages
from services.runtime.errors import AwayError, ConfigurationError, InvariantError

PLANTED = 'planted for user "ada"'


def postgres(sqlstate: str) -> asyncpg.PostgresError:
    """The error that asyncpg creates from a server message with a row in its detail."""
    error = asyncpg.PostgresError.new({"C": sqlstate, "M": PLANTED, "D": "row (secret)"})
    assert isinstance(error, asyncpg.PostgresError)
    return error


@pytest.mark.parametrize(
    ("sqlstate", "wanted", "quotes"),
    [
        ("28P01", "correct user and password in DDOR_POSTGRES_DSN", True),
        ("28000", "correct user and password in DDOR_POSTGRES_DSN", True),
        ("3D000", "PostgreSQL has no such database", True),
        ("42P01", "run `ddor migrate`", True),
        ("42703", "run `ddor migrate`", True),
        ("42883", "run `ddor migrate`", True),
        ("3F000", "run `ddor migrate`", True),
        ("42501", "PostgreSQL does not allow this", True),
        ("25006", "name the primary in DDOR_POSTGRES_DSN", False),
        ("26000", "pooler in transaction mode", False),
        ("42P05", "pooler in transaction mode", False),
        ("53100", "PostgreSQL's disk is full", False),
        ("53300", "PostgreSQL has no free connection", False),
        ("53400", "PostgreSQL is out of resources", False),
        ("57014", "PostgreSQL has cancelled the statement", False),
        ("57P01", "PostgreSQL has ended the session", False),
        ("57P03", "PostgreSQL is starting up or shutting down", False),
        ("55P03", "PostgreSQL could not get a lock in time", False),
        ("25P04", "a transaction exceeded a timeout", False),
        ("40001", "try again", False),
        ("08006", "PostgreSQL has closed the connection", False),
        ("58030", "PostgreSQL cannot read or write its files", False),
        ("XX001", "PostgreSQL's data are corrupt", False),
    ],
)
def test_server_errors_have_sentences(sqlstate: str, wanted: str, quotes: bool) -> None:
    message = error_messages.message(postgres(sqlstate))
    assert message is not None
    assert wanted in message
    assert (PLANTED in message) == quotes
    assert "secret" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (
            kafka.KafkaConnectionError("secret"),
            "no Kafka broker responds: start Kafka, or correct DDOR_KAFKA_BOOTSTRAP",
        ),
        (kafka.KafkaTimeoutError("secret"), "Kafka has not responded in time"),
        (kafka.NodeNotReadyError("secret"), "a Kafka broker cannot be reached at its advertised address"),
        (kafka.UnknownTopicOrPartitionError("secret"), "run `ddor topics apply`"),
        (kafka.LeaderNotAvailableError("secret"), "has no leader"),
        (kafka.NotEnoughReplicasError("secret"), "fewer brokers run"),
        (kafka.SaslAuthenticationFailed("secret"), "correct DDOR_KAFKA_SASL_MECHANISM, _USERNAME and _PASSWORD"),
        (kafka.TopicAuthorizationFailedError("secret"), "operation: grant it (`ddor topics apply --acls`)"),
        (kafka.TopicAuthorizationFailedError({"secret", "report-ready"}), "the operation on report-ready: grant it"),
        (kafka.CorruptRecordException("secret"), "a record in Kafka has a wrong checksum"),
        (kafka.InvalidReplicationFactorError("secret"), "set DDOR_KAFKA_REPLICATION"),
        (kafka.KafkaError("secret"), "Kafka rejects the request"),
        (asyncpg.InterfaceError("connection is closed: secret"), "PostgreSQL has closed the connection"),
        (ConnectionResetError("secret"), "the connection to PostgreSQL or Kafka was lost"),
        (TimeoutError("secret"), "PostgreSQL or Kafka has not responded in time"),
        (PermissionError(13, "Permission denied", "receipts.csv"), "receipts.csv: Permission denied"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ExceptionGroup("secret", [ExceptionGroup("", [AwayError("start it")])]), "start it"),
        (ConfigurationError("set DDOR_ZONE"), "set DDOR_ZONE"),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else "",
)
def test_other_external_causes_have_sentences(error: Exception, wanted: str) -> None:
    message = error_messages.message(error)
    assert message is not None
    assert wanted in message
    assert "secret" not in message
    assert error_messages.summary(error) == f"{type(error_messages.first_error(error)).__name__}: {message}"


def test_readiness_does_not_show_figures_of_a_failed_proof() -> None:
    error = InvariantError("32003 issued counted 5, in the ledger 4")
    assert error_messages.message(error) == str(error)
    assert error_messages.summary(error) == "InvariantError"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("secret"),
        KeyError("secret"),
        AssertionError("secret"),
        asyncpg.InterfaceError("another operation is in progress"),
        postgres("22001"),
        postgres("23505"),
        postgres("42601"),
        postgres("XX000"),
        asyncpg.PostgresError("secret"),
        InvariantError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_defect_has_only_the_name_of_its_error(error: Exception) -> None:
    assert error_messages.message(error) is None
    assert error_messages.summary(error) == type(error).__name__
