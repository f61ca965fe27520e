"""Connections to PostgreSQL."""

from __future__ import annotations

import json
import socket
import ssl
from typing import Any

import asyncpg

from services.runtime import dsn, pooler
from services.runtime.dsn import Address
from services.runtime.errors import AwayError, ConfigurationError
from services.runtime.settings import Settings

_SESSION = {"search_path": "ddor", "timezone": "UTC", "jit": "off"}
"""Settings of each session. JIT compilation would take longer than any of the statements."""
_BEGIN = "SELECT pg_backend_pid(), " + ", ".join(f"set_config('{one}', '{_SESSION[one]}', false)" for one in _SESSION)
_AGAIN = " ".join(f"SET {name} = '{value}';" for name, value in _SESSION.items())
_PARAMETER_STATES = ("42704", "22023", "55P02", "42601", "0A000")
"""SQLSTATEs with which the server refuses a setting of the connection."""


async def prepare(connection: asyncpg.Connection[Any]) -> None:
    """Set up a connection: jsonb values become Python objects."""
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads, format="text")


async def connect(settings: Settings, application: str, *, readers: bool = False) -> asyncpg.Connection[Any]:
    """Open a connection with schema `ddor` in its search_path. Timeouts: 5 s to connect, 60 s per statement.

    `readers`: at the address for readers, if there is one. Raises ConfigurationError if the setting is wrong and
    AwayError if no server responds. Refusals by the server raise its own errors, see `error_messages.message`.
    """
    address = _address(settings, readers=readers)
    connection = await _open(address, application)
    try:
        await _begin(connection, address, application)
        await prepare(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


def check(settings: Settings) -> None:
    """Raise ConfigurationError if an address is malformed. Does not connect."""
    for readers in (False, True):
        _address(settings, readers=readers)


def _address(settings: Settings, *, readers: bool) -> Address:
    if readers and settings.reader_postgres_dsn is not None:
        return dsn.parse(settings.reader_postgres_dsn.get_secret_value(), dsn.READER_SETTING)
    return dsn.parse(settings.postgres_dsn.get_secret_value())


def pool(settings: Settings, application: str, size: int = 4, *, readers: bool = False) -> asyncpg.Pool[Any]:
    """A pool of at most `size` connections. It opens none before it is entered or awaited."""

    async def one_more(*_: object, **__: object) -> asyncpg.Connection[Any]:
        return await connect(settings, application, readers=readers)

    return asyncpg.create_pool(
        min_size=0, max_size=size, max_inactive_connection_lifetime=60, connect=one_more, reset=_reset
    )


async def _reset(connection: asyncpg.Connection[Any]) -> None:
    """Reset the session as asyncpg does, then apply the settings again, because a pooler may not restore them."""
    await connection.execute(f"{connection.get_reset_query()}\n{_AGAIN}")


async def _begin(connection: asyncpg.Connection[Any], address: Address, application: str) -> None:
    """Apply the session's settings, which a pooler may have dropped, and check for a pooler."""
    try:
        pid = await connection.fetchval(_BEGIN)
    except pooler.UNKNOWN_STATEMENT:
        raise pooler.TransactionPoolerError from None
    if pid != connection.get_server_pid():  # a pooler has responded
        await pooler.check(connection, lambda: _open(address, application))


async def _open(address: Address, application: str) -> asyncpg.Connection[Any]:
    """Open a connection. A pooler may refuse startup parameters; they are applied later."""
    own = {"application_name": application}
    try:
        return await _connect(address, own | _SESSION)
    except asyncpg.ProtocolViolationError as error:
        if "startup parameter" not in str(error):
            raise
        return await _connect(address, own)


async def _connect(address: Address, server_settings: dict[str, str]) -> asyncpg.Connection[Any]:
    try:
        connection: asyncpg.Connection[Any] = await asyncpg.connect(
            address.uri, timeout=address.connect_seconds, command_timeout=60, server_settings=server_settings
        )
    except asyncpg.ConnectionDoesNotExistError as error:
        if address.requires_tls:
            raise _closed(error, address) from error
        raise
    except Exception as error:
        raise _named(error, address) from error
    taken = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # not in asyncpg's API
    if taken.family != socket.AF_UNIX:
        for option in address.socket_options:
            taken.setsockopt(*option)
    return connection


def _named(error: Exception, address: Address) -> Exception:
    """Translate errors that a setting causes. Other errors of PostgreSQL are returned unchanged."""
    if isinstance(error, OSError):
        return _unreached(error, address)
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return AwayError(f"PostgreSQL at {address.where} does not match target_session_attrs in {address.setting}")
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate in _PARAMETER_STATES:
        return ConfigurationError(f"PostgreSQL refuses a parameter of {address.setting}: {error.args[0]}")
    if isinstance(error, asyncpg.ClientConfigurationError):
        return ConfigurationError(f"{address.setting}: {error.args[0]}")
    if isinstance(error, KeyError):  # asyncpg looks up the user name of the process
        return ConfigurationError(f"{address.setting} names no user, and the user of this process has no name")
    return error


def _closed(error: asyncpg.ConnectionDoesNotExistError, address: Address) -> Exception:
    """With TLS 1.3 a server checks the client's certificate after the handshake. Its reason can be lost."""
    if isinstance(error.__cause__, ssl.SSLError):
        return _unreached(error.__cause__, address)
    return AwayError(
        f"PostgreSQL at {address.where} has closed the connection after the TLS handshake: if it verifies client"
        f" certificates, correct sslcert and sslkey in {address.setting}; else check its log"
    )


def _unreached(error: OSError, address: Address) -> Exception:
    """The error of a failed connection or TLS handshake."""
    where, advice = f"PostgreSQL at {address.where}", f"start it, or correct host and port in {address.setting}"
    wrong: str | None = None
    if isinstance(error, ssl.SSLCertVerificationError):
        wrong = f"{where} has a certificate that is not trusted ({error.verify_message}): correct sslrootcert or host"
    elif isinstance(error, ssl.SSLError):
        wrong = (
            f"TLS with {where} failed ({error.reason or 'refused'}): correct the ssl parameters of {address.setting}"
        )
    elif "SSL upgrade" in str(error):
        wrong = f"{where} has no TLS, but sslmode requires it: enable TLS on the server, or correct {address.setting}"
    if wrong is not None:
        return ConfigurationError(wrong)
    if isinstance(error, TimeoutError):
        return AwayError(f"{where} has not responded within {address.connect_seconds:g} s: {advice}")
    why = error.strerror or type(error).__name__
    return AwayError(f"{where} cannot be reached ({why.partition(' (')[0]}): {advice}")
