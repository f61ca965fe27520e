"""Users of PostgreSQL that log in with a password and have one of the roles of `deploy/roles.sql`."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

import asyncpg

from services.runtime import dsn
from services.runtime.errors import ConfigurationError

ROLES: Final = ("ddor_migrator", "ddor_aggregator", "ddor_publisher", "ddor_reader", "ddor_operator")
"""The roles that users may have. `ddor_owner` is not for users."""
_ITERATIONS = 4_096
_STATE = "SELECT rolsuper OR rolname = current_user OR NOT rolcanlogin FROM pg_roles WHERE rolname = $1"
_CREATE = "SELECT format('CREATE ROLE %I LOGIN', $1::text)"
_ALTER = "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)"
_GRANT = "SELECT format('GRANT %I TO %I', $1::text, $2::text)"


class Login(NamedTuple):
    """A user with its role and password."""

    role: str
    user: str
    password: str


def read(text: str) -> Login:
    """The login of `ROLE=FILE`. FILE has the user's address, as a file of `DDOR_POSTGRES_DSN_FILE`.

    Raises ConfigurationError, which never quotes the contents of the file.
    """
    role, _, name = text.partition("=")
    if role not in ROLES or not name:
        raise ConfigurationError(f"--user {text}: write ROLE=FILE, with a role of {', '.join(ROLES)}")
    try:
        address = Path(name).read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"--user {text}: cannot read the file: {type(error).__name__}") from None
    dsn.parse(address, name)
    parts = urlsplit(address)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not user or not password or not (password.isascii() and password.isprintable()):
        raise ConfigurationError(f"{name}: needs a user and a password of ASCII characters before the host")
    return Login(role, user, password)


async def apply(connection: asyncpg.Connection[Any], login: Login) -> None:
    """Create the user if it does not exist, set its password, and grant its role. Other roles of the user stay.

    Raises ConfigurationError for a superuser, for the current user, and for a role that cannot log in.
    """
    refused = await connection.fetchval(_STATE, login.user)
    if refused:
        raise ConfigurationError(
            f"--user {login.role}: {login.user} is an administrator or a role without a login: name another user"
        )
    if refused is None:
        await connection.execute(await connection.fetchval(_CREATE, login.user))
    await connection.execute(await connection.fetchval(_ALTER, login.user, _verifier(login.password)))
    await connection.execute(await connection.fetchval(_GRANT, login.role, login.user))


def _verifier(password: str) -> str:
    """The SCRAM-SHA-256 verifier (RFC 5803), so that the password itself is in no statement and in no log."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (base64.b64encode(one).decode() for one in (salt, stored, server))
    return f"SCRAM-SHA-256${_ITERATIONS}:{salt_text}${stored_text}:{server_text}"
