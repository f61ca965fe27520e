"""services.runtime.dsn: each parameter of libpq is honored or refused by name; errors do not quote the address."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from services.runtime import dsn
from services.runtime.errors import ConfigurationError

BASE = "postgresql://ada:planted@db.example:5433/ddor"

LIBPQ = tuple(
    """
    service user password passfile channel_binding connect_timeout dbname host hostaddr port client_encoding options
    application_name fallback_application_name keepalives keepalives_idle keepalives_interval keepalives_count
    tcp_user_timeout sslmode sslnegotiation sslcompression sslcert sslkey sslkeylogfile sslcertmode sslpassword
    sslrootcert sslcrl sslcrldir sslsni requirepeer require_auth ssl_min_protocol_version ssl_max_protocol_version
    min_protocol_version max_protocol_version krbsrvname gssencmode gsslib gssdelegation scram_client_key
    scram_server_key replication target_session_attrs load_balance_hosts oauth_issuer oauth_client_id
    oauth_client_secret oauth_scope servicefile
    """.split()  # noqa: SIM905  # read as a list of words
)
"""The parameters that PQconndefaults() of PostgreSQL 18 lists."""


def refused(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        dsn.parse(text)
    message = str(caught.value)
    assert message.startswith("DDOR_POSTGRES_DSN ")
    assert "planted" not in message
    return message


@pytest.mark.parametrize("name", LIBPQ)
def test_no_parameter_of_libpq_is_ignored(name: str) -> None:
    """An invalid value: either the parameter is refused by name, or asyncpg receives it."""
    text = f"postgresql://db.example/?{name}=planted"
    if name in {"user", "password", "passfile", "dbname", "options", "sslpassword"}:
        assert f"{name}=planted" in dsn.parse(text).uri
    else:
        assert name in refused(text)


@pytest.mark.parametrize(
    ("query", "seconds"), [("", 5.0), ("connect_timeout=3", 3.0), ("connect_timeout=60&sslmode=disable", 60.0)]
)
def test_connect_timeout_is_honored(query: str, seconds: float) -> None:
    address = dsn.parse(f"{BASE}?{query}")
    assert address.connect_seconds == seconds
    assert "connect_timeout" not in address.uri


def test_keepalives_are_honored_on_the_socket() -> None:
    query = "keepalives=1&keepalives_idle=30&keepalives_interval=5&keepalives_count=3&tcp_user_timeout=9000"
    assert {option[1]: option[2] for option in dsn.parse(f"{BASE}?{query}").socket_options} == {
        socket.SO_KEEPALIVE: 1,
        socket.TCP_KEEPIDLE: 30,
        socket.TCP_KEEPINTVL: 5,
        socket.TCP_KEEPCNT: 3,
        socket.TCP_USER_TIMEOUT: 9000,
    }
    assert dsn.parse(f"{BASE}?keepalives=0").socket_options == ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0),)
    assert dsn.parse(BASE).socket_options == ()


@pytest.mark.parametrize(
    "query",
    [
        "channel_binding=prefer",
        "channel_binding=disable&gssencmode=disable",
        "gssencmode=prefer",
        "client_encoding=UTF8",
        "load_balance_hosts=disable&sslsni=1&sslcompression=0&sslcertmode=allow",
        "min_protocol_version=3.0&max_protocol_version=latest",
        "replication=false&gssdelegation=0",
    ],
)
def test_parameters_without_effect_are_accepted_and_not_sent(query: str) -> None:
    assert dsn.parse(f"{BASE}?{query}").uri == BASE


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("channel_binding=require", "has channel_binding, which is supported only as disable or prefer"),
        ("gssencmode=require", "has gssencmode, which is supported only as disable or prefer"),
        ("client_encoding=LATIN1", "has client_encoding, which is supported only as UTF8"),
        ("load_balance_hosts=random", "has load_balance_hosts, which is supported only as disable"),
        ("application_name=mine", "has application_name: each connection sets its own name"),
        ("service=prod", "has service: service files are not supported"),
        ("hostaddr=127.0.0.1", "has hostaddr: write the address as the host"),
        ("require_auth=scram-sha-256", "has require_auth, which is not supported"),
        (
            "statement_timeout=5000",
            "has statement_timeout, which is not supported; write a server setting",
        ),
        ("connect_timeout=0", "has connect_timeout=0 (no timeout)"),
        ("connect_timeout=soon", "has connect_timeout, which must be a whole number"),
        ("connect_timeout=-1", "has connect_timeout, which must be a whole number"),
        ("keepalives=yes", "has keepalives, which must be 0 or 1"),
        ("keepalives_idle=1.5", "has keepalives_idle, which must be a whole number"),
        ("sslmode=strict", "has sslmode, which must be one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("target_session_attrs=leader", "has target_session_attrs, which must be one of any, read-write"),
        ("ssl_min_protocol_version=TLSv9", "has ssl_min_protocol_version, which must be one of TLSv1"),
        ("sslrootcert=/no/such/file", "has sslrootcert, which names a file that cannot be read"),
        ("sslcert=/no/such/file", "has sslcert, which names a file that cannot be read"),
        ("sslkey=/no/such/file", "has sslkey, which names a file that cannot be read"),
        ("sslmode=verify-full", "has sslmode=verify-full and no root certificate: add sslrootcert=FILE"),
        ("sslmode=verify-ca", "has sslmode=verify-ca and no root certificate: add sslrootcert=FILE"),
        ("sslmode=verify-full&sslrootcert=system", "has sslrootcert=system, which is not supported: name a file"),
        ("sslnegotiation=direct", "has sslnegotiation=direct, which needs sslmode=require or stricter"),
        ("port=5432", "has port twice"),
        ("user=eve", "has user twice"),
        ("dbname=other", "has dbname twice"),
        ("nothing", "is not a URI"),
        ("pl%61nted%20x=1", "has an unknown parameter"),
    ],
)
def test_a_parameter_that_cannot_be_honored_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, query: str, wanted: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert f"DDOR_POSTGRES_DSN {wanted}" in refused(f"{BASE}?{query}")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "must be a URI"),
        ("planted", "must be a URI"),
        ("host=127.0.0.1 dbname=planted", "must be a URI"),
        ("mysql://ada:planted@db/ddor", "must be a URI"),
        ("postgresql://ada:planted@[::1/ddor", "is not a URI"),
        ("postgresql://ada:planted@db:0/ddor", "port that is not a number from 1 to 65535"),
        ("postgresql://ada:planted@db:99999/ddor", "port that is not a number from 1 to 65535"),
        ("postgresql://ada:planted@db:x/ddor", "port that is not a number from 1 to 65535"),
        ("postgresql://ada:planted@::1:5432/ddor", "write IPv6 addresses in brackets"),
        ("postgresql://ada:plan@ted@db/planted", "percent-encode"),
        ("postgresql://ada:12#planted@db/ddor", "percent-encode"),
        ("postgresql://ada:12/planted@db/ddor", "percent-encode"),
        ("postgresql://ada:12?planted@db/ddor", "percent-encode"),
        ("postgresql:///ddor?host=one,two&port=1,2,3", "has different numbers of hosts and ports"),
        ("postgresql:///ddor?host=one&port=99999", "port that is not a number from 1 to 65535"),
    ],
)
def test_an_invalid_address_is_not_quoted(text: str, wanted: str) -> None:
    assert wanted in refused(text)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (BASE, "db.example:5433"),
        ("postgresql://ada:a%40b@db/ddor", "db:5432"),
        ("postgresql://one:1,two:2/ddor", "one:1, two:2"),
        ("postgresql://[::1]:7/ddor", "[::1]:7"),
        ("postgresql:///ddor?host=one,two&port=7", "one:7, two:7"),
        ("postgresql:///ddor", "the local socket"),
        ("postgresql://%2Frun%2Fpostgresql/ddor", "/run/postgresql:5432"),
    ],
)
def test_the_server_is_shown_without_the_user(text: str, where: str) -> None:
    assert dsn.parse(text).where == where


def test_jdbcs_ssl_parameter_means_sslmode() -> None:
    assert dsn.parse(f"{BASE}?ssl=true").uri == f"{BASE}?sslmode=require"
