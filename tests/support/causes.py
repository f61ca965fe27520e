"""External causes of errors with their messages, one row per cause."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from deploy.local.ports import free_port
from schemas.topics import DETAINER_DECLINED, DETAINER_ISSUED, REPORT_LATEST
from services.runtime.kafka_rights import COMMIT, SEND, Operation, Resource, Right
from services.runtime.settings import Settings


class Cause(NamedTuple):
    """A fault in PostgreSQL's address, as a function of the correct address, and the expected message (a regex)."""

    what: str
    wrong: Callable[[str], str]
    sentence: str


def _port(dsn: str, port: object) -> str:
    return dsn.replace(f":{urlsplit(dsn).port}/", f":{port}/")


UNUSED = free_port()
CAUSES = (
    Cause(
        "wrong password",
        lambda dsn: re.sub(r":[^:@]+@", ":planted@", dsn),
        r"PostgreSQL rejects the login \(password authentication failed for user \"ddor\"\): correct user and"
        r" password in DDOR_POSTGRES_DSN, or pg_hba.conf",
    ),
    Cause(
        "no such user",
        lambda dsn: re.sub(r"//[^@]+@", "//nobody:planted@", dsn),
        r"PostgreSQL rejects the login .*DDOR_POSTGRES_DSN",
    ),
    Cause(
        "missing database",
        lambda dsn: f"{dsn}_not",
        r"PostgreSQL has no such database \(database \"\w+_not\" does not exist\): create it, or correct its name in"
        r" DDOR_POSTGRES_DSN",
    ),
    Cause(
        "no listener",
        lambda dsn: _port(dsn, UNUSED),
        rf"PostgreSQL at 127.0.0.1:{UNUSED} cannot be reached \(.+\): start it, or correct host and port in"
        " DDOR_POSTGRES_DSN",
    ),
    Cause(
        "no such host",
        lambda dsn: dsn.replace("127.0.0.1", "host.invalid"),
        r"PostgreSQL at host.invalid:\d+ cannot be reached \(.+\): start it, or correct host and port in"
        " DDOR_POSTGRES_DSN",
    ),
    Cause(
        "port 99999",
        lambda dsn: _port(dsn, 99_999),
        "DDOR_POSTGRES_DSN has a port that is not a number from 1 to 65535",
    ),
    Cause("no address", lambda _: "planted", "DDOR_POSTGRES_DSN must be a URI such as postgresql://"),
    Cause("a parameter", lambda dsn: f"{dsn}?require_auth=none", "DDOR_POSTGRES_DSN has require_auth, which is not"),
    Cause(
        "no root certificate", lambda dsn: f"{dsn}?sslmode=verify-full", "DDOR_POSTGRES_DSN has sslmode=verify-full and"
    ),
    Cause(
        "no TLS",
        lambda dsn: f"{dsn}?sslmode=require",
        r"PostgreSQL at [\d.:]+ has no TLS, but sslmode requires it: enable TLS on the server, or correct"
        " DDOR_POSTGRES_DSN",
    ),
    Cause(
        "a setting that the server refuses",
        lambda dsn: f"{dsn}?options=-c%20statement_timeout%3Dsoon",
        "PostgreSQL refuses a parameter of DDOR_POSTGRES_DSN: invalid value for parameter",
    ),
    Cause(
        "a standby is required",
        lambda dsn: f"{dsn}?target_session_attrs=standby",
        r"PostgreSQL at [\d.:]+ does not match target_session_attrs in DDOR_POSTGRES_DSN",
    ),
)
READ_ONLY = (
    "PostgreSQL is a standby or read-only: name the primary in DDOR_POSTGRES_DSN, or make it writable (runbook"
    " read-only-database)"
)
NOT_MIGRATED = r"the database's schema is missing or old \(.+ does not exist\): run `ddor migrate` as its owner"
UNREADABLE = {"port 99999", "no address", "a parameter", "no root certificate"}
"""With these causes the service does not start."""


class Denial(NamedTuple):
    """A right in Kafka that a service lacks. Its sentence is in /readyz and the log."""

    service: str
    right: Right

    @property
    def sentence(self) -> str:
        """The expected sentence."""
        return (
            f"MissingRightError: Kafka denies this user {self.right}: run `ddor topics apply --acls` as an"
            " administrator of Kafka, or correct DDOR_KAFKA_SASL_USERNAME"
        )


DENIALS = (
    Denial("ingest", Right(Operation.WRITE, Resource.TOPIC, DETAINER_ISSUED)),
    Denial("aggregator", Right(Operation.READ, Resource.TOPIC, DETAINER_DECLINED)),
    Denial("publisher", Right(Operation.WRITE, Resource.TOPIC, REPORT_LATEST)),
    Denial("aggregator", COMMIT),
    Denial("publisher", Right(Operation.READ, Resource.TOPIC, DETAINER_ISSUED)),
    Denial("publisher", SEND),
)


def wrong(settings: Settings, cause: Cause) -> Settings:
    """The settings with a faulty address of PostgreSQL."""
    dsn = cause.wrong(settings.postgres_dsn.get_secret_value())
    return Settings(**{**settings.model_dump(), "postgres_dsn": dsn})
