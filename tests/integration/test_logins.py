"""`ddor roles apply --user ROLE=FILE` on a real PostgreSQL: users with passwords and roles."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from services.runtime.settings import Settings
from tests.support.commands import Done, ddor
from tests.support.database_roles import as_user, name_of
from tests.support.positions import Connection


@pytest.fixture
async def name(connection: Connection) -> AsyncIterator[str]:
    """The name of a user that does not exist, and is dropped afterwards. It needs quotes."""
    one = f"ddor test {secrets.token_hex(6)}"
    yield one
    if await connection.fetchval("SELECT to_regrole(quote_ident($1))", one) is not None:
        await connection.execute(f'DROP OWNED BY "{one}"; DROP ROLE "{one}"')


def _file(directory: Path, dsn: str) -> Path:
    file = directory / "address"
    file.write_text(f"{dsn}\n")
    return file


async def _apply(dsn: str, *users: str) -> Done:
    return await ddor(Settings(postgres_dsn=dsn), "roles", "apply", *(f"--user={one}" for one in users))


async def _may_log_in(dsn: str) -> bool:
    try:
        connection = await asyncpg.connect(dsn)
    except asyncpg.InvalidPasswordError:
        return False
    await connection.fetch("SELECT * FROM ddor.report")
    await connection.close()
    return True


async def test_a_user_logs_in_with_its_role_and_its_newest_password(database: str, name: str, tmp_path: Path) -> None:
    """The name and the password have encoded characters."""
    first = as_user(database, name.replace(" ", "%20"), "first-'%20$password")
    for _ in range(2):
        done = await _apply(database, f"ddor_reader={_file(tmp_path, first)}")
        assert (done.exit_code, f"{name}: may log in, with ddor_reader\n" in done.out) == (0, True), done.output
        assert "first-" not in done.output
        assert await _may_log_in(first)
    second = as_user(database, name.replace(" ", "%20"), "second")
    assert (await _apply(database, f"ddor_reader={_file(tmp_path, second)}")).exit_code == 0
    assert await _may_log_in(second)
    assert not await _may_log_in(first), "the first password no longer works"


async def test_an_administrator_and_a_role_are_not_changed(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    secret = "SELECT rolpassword FROM pg_authid WHERE rolname = $1"
    administrator = name_of(database)
    before = await connection.fetchval(secret, administrator)
    for user in (administrator, "ddor_publisher"):
        file = _file(tmp_path, as_user(database, user, "planted"))
        done = await _apply(database, f"ddor_reader={file}")
        assert done.exit_code == 2, done.output
        assert f"{user} is an administrator or a role without a login" in done.err
        assert "planted" not in done.output
    assert await connection.fetchval(secret, administrator) == before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ddor_owner={file}", "write ROLE=FILE, with a role of ddor_migrator"),
        ("{file}", "write ROLE=FILE"),
        ("ddor_reader={file}.not", "cannot read the file: FileNotFoundError"),
        ("ddor_reader={file}", "needs a user and a password"),
    ],
)
async def test_a_wrong_option_is_refused_before_anything_changes(
    database: str, tmp_path: Path, text: str, why: str
) -> None:
    file = tmp_path / "address"
    file.write_text("postgresql://planted@127.0.0.1/ddor")
    done = await _apply(database, text.format(file=file))
    assert (done.exit_code, why in done.err) == (2, True), done.output
    assert "planted" not in done.output
