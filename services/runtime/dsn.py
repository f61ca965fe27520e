"""Parse `DDOR_POSTGRES_DSN` as libpq does. Each parameter is either honored or refused by name, never ignored.

asyncpg sends unknown parameters to the server as settings and silently ignores others. Errors quote nothing from the
address but parameter names: a password with special characters may look like a host, a port or a database.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from services.runtime.errors import ConfigurationError

SETTING: Final = "DDOR_POSTGRES_DSN"
READER_SETTING: Final = "DDOR_READER_POSTGRES_DSN"
CONNECT_SECONDS: Final = 5.0
"""Default of connect_timeout."""

_ENCODE = "percent-encode special characters in the user and the password, such as %40 for @"
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:]*)(?::([^:]*))?")
_NAME = re.compile(r"[a-z_]{1,40}")

_HONORED: Final = frozenset(
    {
        *("host", "port", "dbname", "database", "user", "password", "passfile", "options", "target_session_attrs"),
        *("sslmode", "sslnegotiation", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version"),
    }
)
"""asyncpg treats these as libpq does."""
_TLS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "sslmode": _SSLMODES,
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": _TLS,
    "ssl_max_protocol_version": _TLS,
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
}
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_SAME_HERE: Final[Mapping[str, tuple[str, ...]]] = {
    "channel_binding": ("disable", "prefer"),
    "gssencmode": ("disable", "prefer"),
    "gssdelegation": ("0",),
    "sslcompression": ("0",),
    "sslcertmode": ("allow",),
    "sslsni": ("1",),
    "client_encoding": ("UTF8", "UTF-8", "utf8", "utf-8"),
    "load_balance_hosts": ("disable",),
    "replication": ("0", "false", "off", "no"),
    "min_protocol_version": ("3.0",),
    "max_protocol_version": ("3.0", "3.2", "latest"),
}
"""Values that match the actual behavior. Other values of these parameters are refused."""
_SOCKET: Final[Mapping[str, tuple[str, ...]]] = {
    "keepalives_idle": ("TCP_KEEPIDLE", "TCP_KEEPALIVE"),
    "keepalives_interval": ("TCP_KEEPINTVL",),
    "keepalives_count": ("TCP_KEEPCNT",),
    "tcp_user_timeout": ("TCP_USER_TIMEOUT",),
}
"""Socket options; the first one that the system supports is set."""
_REFUSED: Final[Mapping[str, str]] = {
    "application_name": "each connection sets its own name: remove it",
    "fallback_application_name": "each connection sets its own name: remove it",
    "service": "service files are not supported: write their values into the address",
    "servicefile": "service files are not supported: write their values into the address",
    "hostaddr": "write the address as the host",
    "krbsrvname": "Kerberos is not supported: use a password or a client certificate",
    "gsslib": "Kerberos is not supported: use a password or a client certificate",
}


@dataclass(frozen=True, slots=True)
class Address:
    """The parsed address. `uri` is for asyncpg only; `where` lists hosts and ports and contains no secret."""

    uri: str
    where: str
    connect_seconds: float
    socket_options: tuple[tuple[int, int, int], ...]
    setting: str = SETTING
    requires_tls: bool = False


def parse(text: str, setting: str = SETTING) -> Address:
    """Parse the address, the value of `setting`. Raises ConfigurationError."""
    try:
        return replace(_parse(text), setting=setting)
    except ConfigurationError as error:
        raise ConfigurationError(f"{setting} {error}") from None


def certificates(text: str) -> tuple[Path | None, Path | None]:
    """The files of the client certificate and of the CA certificates in an address that `parse` accepts."""
    query = dict(parse_qsl(urlsplit(text).query))
    client, root = (query.get(name) or os.environ.get(f"PG{name.upper()}") for name in ("sslcert", "sslrootcert"))
    return Path(client) if client else None, Path(root) if root else None


def _parse(text: str) -> Address:
    try:
        parts = urlsplit(text)
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else []
    except ValueError:
        raise _wrong(f"is not a URI such as postgresql://user:password@host:5432/database; {_ENCODE}") from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise _wrong("must be a URI such as postgresql://user:password@host:5432/database, not keywords and values")
    if parts.fragment or parts.netloc.count("@") > 1 or "@" in parts.path + parts.query:
        raise _wrong(f"has a misplaced special character: {_ENCODE}")
    query = dict(given)
    _check_twice(parts, query)
    if query.pop("ssl", None) == "true":  # JDBC form, as in libpq
        query.setdefault("sslmode", "require")
    seconds, options = _connect_seconds(query), _socket_options(query)
    for name in [name for name in query if name not in _HONORED]:
        _check_refused(name, query.pop(name))
    _check_honored(query)
    hosts = parts.netloc.rpartition("@")[2] or ",".join(_listed(query.get("host", ""), query.get("port", "")))
    uri = parts._replace(query=urlencode(query)).geturl()
    where = ", ".join(map(_host, hosts.split(","))) if hosts else os.environ.get("PGHOST", "the local socket")
    requires_tls = query.get("sslmode", os.environ.get("PGSSLMODE")) in ("require", "verify-ca", "verify-full")
    return Address(uri, where, seconds, options, requires_tls=requires_tls)


def _wrong(why: str) -> ConfigurationError:
    return ConfigurationError(why)


def _check_twice(parts: SplitResult, query: Mapping[str, str]) -> None:
    """Refuse duplicates: asyncpg would use the value before `?`, libpq the one after it."""
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    before = {
        "host": hosts, "port": hosts, "user": user, "password": password, "dbname": parts.path.strip("/"),
        "database": parts.path.strip("/"),
    }  # fmt: skip
    for name in before.keys() & query.keys():
        if before[name]:
            raise _wrong(f"has {name} twice: before the question mark, and as a parameter")


def _listed(hosts: str, ports: str) -> list[str]:
    """Hosts and ports of the query as host:port. A single port applies to all hosts."""
    names = hosts.split(",")
    numbers = ports.split(",")
    numbers = numbers * len(names) if len(numbers) == 1 else numbers
    if len(numbers) != len(names):
        raise _wrong("has different numbers of hosts and ports")
    return [f"{name}:{number}" if number else name for name, number in zip(names, numbers, strict=True)]


def _host(text: str) -> str:
    """A checked host:port for display."""
    match = _HOST.fullmatch(unquote(text))
    if match is None:
        raise _wrong(f"has an invalid host: write IPv6 addresses in brackets, and {_ENCODE}")
    host, port = match[1], match[2]
    if port and not (port.isascii() and port.isdecimal() and 1 <= int(port[:9]) <= 65_535):
        raise _wrong(f"has a port that is not a number from 1 to 65535; {_ENCODE}")
    return f"{host or 'localhost'}:{port or os.environ.get('PGPORT') or 5432}"


def _number(name: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise _wrong(f"has {name}, which must be a whole number")
    return int(value)


def _connect_seconds(query: dict[str, str]) -> float:
    value = query.pop("connect_timeout", None)
    if value is None:
        return CONNECT_SECONDS
    if not (seconds := _number("connect_timeout", value)):
        raise _wrong("has connect_timeout=0 (no timeout): write a number of seconds")
    return float(seconds)


def _socket_options(query: dict[str, str]) -> tuple[tuple[int, int, int], ...]:
    keepalives = query.pop("keepalives", None)
    if keepalives not in (None, "0", "1"):
        raise _wrong("has keepalives, which must be 0 or 1")
    set_ones = {name: _number(name, query.pop(name)) for name in _SOCKET if name in query}
    options = []
    if keepalives is not None or any(name.startswith("keepalives") for name in set_ones):
        options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(keepalives != "0")))
    for name, value in set_ones.items():
        known = [getattr(socket, one) for one in _SOCKET[name] if hasattr(socket, one)]
        if value and known:  # as libpq: 0, or an unsupported option, means the system's default
            options.append((socket.IPPROTO_TCP, known[0], value))
    return tuple(options)


def _check_refused(name: str, value: str) -> None:
    if name in _SAME_HERE:
        if value not in _SAME_HERE[name]:
            raise _wrong(f"has {name}, which is supported only as {' or '.join(_SAME_HERE[name])}")
        return
    if name in _REFUSED:
        raise _wrong(f"has {name}: {_REFUSED[name]}")
    if not _NAME.fullmatch(name):
        raise _wrong(f"has an unknown parameter; {_ENCODE}")
    raise _wrong(f"has {name}, which is not supported; write a server setting as options=-c%20NAME%3DVALUE")


def _check_honored(query: Mapping[str, str]) -> None:
    for name, values in _VALUES.items():
        if name in query and query[name] not in values:
            raise _wrong(f"has {name}, which must be one of {', '.join(values)}")
    if query.get("sslrootcert") == "system":
        raise _wrong("has sslrootcert=system, which is not supported: name a file with CA certificates")
    for name in _FILES:
        if query.get(name) and not _is_readable(query[name]):
            raise _wrong(f"has {name}, which names a file that cannot be read")
    mode = query.get("sslmode", os.environ.get("PGSSLMODE", "prefer"))
    if mode in ("verify-ca", "verify-full") and not _has_root(query):
        raise _wrong(f"has sslmode={mode} and no root certificate: add sslrootcert=FILE")
    if query.get("sslnegotiation") == "direct" and mode in ("disable", "allow", "prefer"):
        raise _wrong("has sslnegotiation=direct, which needs sslmode=require or stricter")


def _is_readable(name: str) -> bool:
    return Path(name).is_file() and os.access(name, os.R_OK)


def _has_root(query: Mapping[str, str]) -> bool:
    return bool(query.get("sslrootcert") or os.environ.get("PGSSLROOTCERT")) or _is_readable(
        os.path.expanduser("~/.postgresql/root.crt")  # Path.expanduser raises if there is no home directory
    )
