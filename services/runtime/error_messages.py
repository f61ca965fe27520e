"""One-sentence messages for errors with an external cause: what is wrong, and the setting or command that corrects it.

Commands print the message instead of a traceback; services show it in /readyz and the log. No message quotes a row, a
record or a password: it repeats only those parts of a server's message that cannot contain them.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

import asyncpg
from aiokafka import errors as kafka
from aiokafka.errors import KafkaError

from schemas.topics import TOPICS
from services.runtime import pooler
from services.runtime.errors import AwayError, CallerError, InvariantError, is_transient

_DSN = "DDOR_POSTGRES_DSN"
_WITHOUT_CERTIFICATE = "28, certificate"
_MIGRATE = "the database's schema is missing or old ({message}): run `ddor migrate` as its owner"

_STATES: Final[Mapping[str, str]] = {
    "28": f"PostgreSQL rejects the login ({{message}}): correct user and password in {_DSN}, or pg_hba.conf",
    _WITHOUT_CERTIFICATE: (
        f"PostgreSQL rejects the login ({{message}}): correct sslcert and sslkey in {_DSN}, or pg_hba.conf"
    ),
    "3D": f"PostgreSQL has no such database ({{message}}): create it, or correct its name in {_DSN}",
    "42P01": _MIGRATE,
    "42703": _MIGRATE,
    "42883": _MIGRATE,
    "3F": _MIGRATE,
    "42501": f"PostgreSQL does not allow this ({{message}}): grant it, or name the schema's owner in {_DSN}",
    "25006": f"PostgreSQL is a standby or read-only: name the primary in {_DSN}, or make it writable (runbook"
    " read-only-database)",
    "26000": pooler.SENTENCE,
    "42P05": pooler.SENTENCE,
    "53100": "PostgreSQL's disk is full: free some space",
    "53200": "PostgreSQL is out of memory: give it more memory, or lower its settings",
    "53300": "PostgreSQL has no free connection: raise its max_connections, or end unused sessions",
    "57014": "PostgreSQL has cancelled the statement: it exceeded a timeout, or an operator cancelled it",
    "57P03": "PostgreSQL is starting up or shutting down: wait, or check its log",
    "57P04": f"PostgreSQL's database was dropped: restore it, or correct its name in {_DSN}",
    "57P": "PostgreSQL has ended the session: it was restarted or shut down",
    "55P03": "PostgreSQL could not get a lock in time: another session has it (see pg_stat_activity)",
    "25P": "PostgreSQL has ended the session: a transaction exceeded a timeout",
    "40": "PostgreSQL has rolled back the transaction because of a concurrent one: try again",
    "08": "PostgreSQL has closed the connection: check its log, and the log of a pooler, if any",
    "53": "PostgreSQL is out of resources: check its log",
    "58": "PostgreSQL cannot read or write its files: check its log",
    "XX001": "PostgreSQL's data are corrupt: check its log, and restore a backup",
    "XX002": "an index in PostgreSQL is corrupt: check its log, and REINDEX it",
}
"""By SQLSTATE or its prefix; the longest match applies. `{message}` is PostgreSQL's: it has names but no row."""

_BROKERS = "start Kafka, or correct DDOR_KAFKA_BOOTSTRAP and DDOR_KAFKA_SECURITY_PROTOCOL"
BROKERS_AWAY: Final = f"no Kafka broker responds: {_BROKERS}"
_LEADERLESS = "a partition in Kafka has no leader: check that all brokers run"
_CREDENTIALS = "Kafka rejects the login: correct DDOR_KAFKA_SASL_MECHANISM, _USERNAME and _PASSWORD"
_RIGHTS = (
    "Kafka denies this user the operation{}: grant it (`ddor topics apply --acls`), or correct DDOR_KAFKA_SASL_USERNAME"
)
_TOO_FEW = "fewer brokers run than min.insync.replicas requires: start the others"

_KAFKA: Final[Mapping[type[KafkaError], str]] = {
    kafka.KafkaConnectionError: BROKERS_AWAY,
    kafka.KafkaTimeoutError: f"Kafka has not responded in time: {_BROKERS}",
    kafka.RequestTimedOutError: f"Kafka has not responded in time: {_BROKERS}",
    kafka.NodeNotReadyError: f"a Kafka broker cannot be reached at its advertised address: {_BROKERS}",
    kafka.UnknownTopicOrPartitionError: "Kafka lacks a topic or a partition: run `ddor topics apply`",
    kafka.LeaderNotAvailableError: _LEADERLESS,
    kafka.NotLeaderForPartitionError: _LEADERLESS,
    kafka.NotEnoughReplicasError: _TOO_FEW,
    kafka.NotEnoughReplicasAfterAppendError: _TOO_FEW,
    kafka.AuthenticationFailedError: _CREDENTIALS,
    kafka.SaslAuthenticationFailed: _CREDENTIALS,
    kafka.UnsupportedSaslMechanismError: _CREDENTIALS,
    kafka.IllegalSaslStateError: _CREDENTIALS,
    kafka.TopicAuthorizationFailedError: _RIGHTS,
    kafka.GroupAuthorizationFailedError: _RIGHTS,
    kafka.ClusterAuthorizationFailedError: _RIGHTS,
    kafka.TransactionalIdAuthorizationFailed: _RIGHTS,
    kafka.CorruptRecordException: "a record in Kafka has a wrong checksum: check the broker's log and disk",
    kafka.UnsupportedVersionError: "this Kafka is too old: use a release that is listed in the README",
    kafka.IncompatibleBrokerVersion: "this Kafka is too old: use a release that is listed in the README",
    kafka.InvalidReplicationFactorError: "set DDOR_KAFKA_REPLICATION to the number of brokers",
}


_OF_THE_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def first_error(error: BaseException) -> BaseException:
    """The error itself, or the first error of an exception group."""
    return first_error(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def message(error: BaseException) -> str | None:
    """One sentence for the operator, or None for a defect in this program, which needs its traceback."""
    error = first_error(error)
    if isinstance(error, CallerError | AwayError | InvariantError):
        return str(error) or None
    if isinstance(error, asyncpg.PostgresError):
        return _of_postgres(error)
    if isinstance(error, KafkaError):
        return _of_kafka(error)
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        return _STATES["08"] if is_transient(error) else None
    if isinstance(error, OSError):
        return _of_the_system(error)
    return "PostgreSQL or Kafka has closed the connection" if isinstance(error, EOFError) else None


def summary(error: BaseException) -> str:
    """The error's class name and its message, if any, for /readyz.

    Omits the message of an InvariantError: /readyz is public, and it may contain figures of unpublished weeks.
    """
    kind = type(first_error(error))
    why = None if kind is InvariantError else message(error)
    return kind.__name__ if why is None else f"{kind.__name__}: {why}"


def _of_postgres(error: asyncpg.PostgresError) -> str | None:
    state = error.sqlstate or ""
    if state.startswith("28") and "client certificate" in str(error.args[0]):
        state = _WITHOUT_CERTIFICATE
    known = max((one for one in _STATES if state.startswith(one)), key=len, default=None)
    return None if known is None else _STATES[known].format(message=error.args[0])


def _of_kafka(error: KafkaError) -> str:
    for kind in type(error).__mro__:
        if kind in _KAFKA:
            return _KAFKA[kind].format(_topics(error)) if _KAFKA[kind] is _RIGHTS else _KAFKA[kind]
    return "Kafka rejects the request: check the log of its brokers"


def _topics(error: KafkaError) -> str:
    """The topics of this project that the error names; aiokafka's errors contain a topic, a set or a partition."""
    named = [topic.name for topic in TOPICS if topic.name in repr(error.args)]
    return f" on {', '.join(named)}" if named else ""


def _of_the_system(error: OSError) -> str:
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, TimeoutError):
        return "PostgreSQL or Kafka has not responded in time: see that both run"
    if error.errno in _OF_THE_DISK:
        return f"{error.strerror}: free some space, or write to another directory"
    return "the connection to PostgreSQL or Kafka was lost: check that both run"
