"""Errors with an external cause: one sentence that names the setting and the correction, and exit code 2.

With a real PostgreSQL and Kafka: every command, and /readyz and logs of the services.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import stamina
from typer.testing import CliRunner

from deploy.local.parts import KafkaPart, PostgresPart
from services.cli import main
from services.runtime.settings import Settings
from tests.support.causes import CAUSES, NOT_MIGRATED, READ_ONLY, UNREADABLE, UNUSED, Cause, wrong
from tests.support.commands import environment
from tests.support.local_parts import new_database

WEEK = "2014-10-11"
COMMANDS = (
    ("migrate",),
    ("status",),
    ("close", WEEK, "--by", "Ada", "--wait", "0"),
    ("release", WEEK, "--by", "Ada", "--note", "seen"),
    ("restate", WEEK, "--by", "Ada", "--reason", "why", "--wait", "0"),
    ("withdraw-lines", WEEK, "--by", "Ada", "--reason", "why"),
    ("policies", "list"),
    ("recover", "--by", "Ada"),
    ("verify",),
    ("trace", "detainer-issued/0/0"),
    ("resume", "detainer-issued/0", "--by", "Ada"),
    ("rejected", "list"),
    ("rejected", "show", "detainer-issued/0/0"),
    ("rejected", "redrive", "detainer-issued/0/0", "--by", "Ada"),
    ("rejected", "purge", "--by", "Ada"),
)
"""All commands that use PostgreSQL."""
OF_KAFKA = (("topics", "apply"), ("topics", "apply", "--check"), ("topics", "grow", "detainer-issued", "13"))


CHANGING = tuple(one for one in COMMANDS if one[0] in {"close", "restate", "release", "withdraw-lines"})


def run(settings: Settings, *arguments: str, **variables: str) -> tuple[int, str, str]:
    """Run a command in this process. Returns its exit code, standard output and standard error."""
    result = CliRunner().invoke(main.command(arguments[0]), arguments, env=environment(settings) | variables)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.exit_code, result.stdout, result.stderr


def failure(settings: Settings, *arguments: str, **variables: str) -> str:
    """The single sentence that a command prints before it exits with code 2."""
    code, out, err = run(settings, *arguments, **variables)
    output = err + (out if arguments[0] == "status" else "")
    assert code == 2, (arguments, out, err)
    assert "Traceback" not in output
    assert "planted" not in output
    if arguments[0] != "status":
        assert out == ""
        # A redrive of several records also names the record at which it stopped.
        assert err.count("\n") == (2 if "unknown whether this record was sent" in err else 1), err
    return output


@pytest.fixture
def chosen(database: str, kafka: KafkaPart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings on a migrated database and the run's Kafka; the home directory has no certificates."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr("services.runtime.logs.configure", lambda *_: None)  # it would affect later tests
    return Settings(
        postgres_dsn=database,
        kafka_bootstrap=kafka.bootstrap,
        kafka_replication=1,
        first_week="2017-01-28",
    )


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.what)
def test_every_command_names_the_error_in_the_postgresql_address(chosen: Settings, cause: Cause) -> None:
    for command in COMMANDS:
        assert re.search(cause.sentence, failure(wrong(chosen, cause), *command)), command


@contextmanager
def _read_only(dsn: str) -> Iterator[None]:
    """New sessions of the database are read-only."""
    name = urlsplit(dsn).path.strip("/")
    _execute(dsn, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    try:
        yield
    finally:
        undo = f'BEGIN READ WRITE; ALTER DATABASE "{name}" RESET default_transaction_read_only; COMMIT'
        _execute(dsn, undo)


def _execute(dsn: str, statement: str) -> None:
    import asyncio  # only here: tests of commands are not coroutines

    async def execute() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(execute())


def test_a_read_only_database_is_named_by_each_command_that_writes(chosen: Settings) -> None:
    with _read_only(chosen.postgres_dsn.get_secret_value()):
        for command in (*CHANGING, ("migrate",)):
            assert READ_ONLY in failure(chosen, *command), command


def test_a_database_that_is_not_migrated_is_named_with_the_command(chosen: Settings, postgres: PostgresPart) -> None:
    with new_database(postgres) as dsn:
        empty = Settings(**{**chosen.model_dump(), "postgres_dsn": dsn})
        for command in COMMANDS[1:]:
            assert re.search(NOT_MIGRATED, failure(empty, *command)), command


def test_the_error_for_a_user_without_rights_names_the_grant(chosen: Settings) -> None:
    dsn = chosen.postgres_dsn.get_secret_value()
    making = "CREATE ROLE guest LOGIN PASSWORD 'planted'; GRANT USAGE ON SCHEMA ddor TO guest"
    _execute(dsn, f"DROP ROLE IF EXISTS guest; {making}")
    guest = Settings(**{**chosen.model_dump(), "postgres_dsn": re.sub(r"//[^@]+@", "//guest:planted@", dsn)})
    try:
        for command in (("rejected", "list"), ("migrate",)):
            output = failure(guest, *command)
            assert re.search(
                r"PostgreSQL does not allow this \(permission denied for .+\): grant it, or name the", output
            )
    finally:
        _execute(dsn, "DROP OWNED BY guest; DROP ROLE guest")


def test_every_command_that_uses_kafka_names_it_while_it_is_unavailable(chosen: Settings) -> None:
    away = Settings(**{**chosen.model_dump(), "kafka_bootstrap": f"127.0.0.1:{UNUSED}"})
    for command in (*OF_KAFKA, ("recover", "--by", "Ada"), ("trace", "detainer-issued/0/9"), ("status",)):
        output = failure(away, *command)
        assert "no Kafka broker responds: start Kafka, or correct DDOR_KAFKA_BOOTSTRAP" in output, command
        assert "PostgreSQL at" not in output


def test_a_command_without_an_operator_name_requests_one(chosen: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user id has no name."""

    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", unknown)
    assert "add --by NAME" in failure(chosen, "close", WEEK)
    dsn = re.sub(r"//[^@]+@", "//", chosen.postgres_dsn.get_secret_value())
    nameless = Settings(**{**chosen.model_dump(), "postgres_dsn": dsn})
    assert "DDOR_POSTGRES_DSN names no user" in failure(nameless, "rejected", "list")


def test_a_service_reports_before_its_start_that_it_cannot_listen(chosen: Settings, agencies_file: Path) -> None:
    valid = {"DDOR_AGENCIES_FILE": str(agencies_file), "DDOR_FIRST_WEEK": "2014-10-11"}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for service in ("ingest", "aggregator", "publisher"):
            name = f"DDOR_{service.upper()}_PORT"
            output = failure(chosen, service, "serve", **valid, **{name: str(port)})
            assert f"cannot listen on 127.0.0.1:{port} (Address already in use): change DDOR_HOST or {name}" in output
            assert f"{name}: " in failure(chosen, service, "serve", **valid, **{name: "99999"})
    assert "cannot listen on host.invalid:" in failure(chosen, "ingest", "serve", **valid, DDOR_HOST="host.invalid")


@pytest.mark.parametrize("cause", [one for one in CAUSES if one.what in UNREADABLE], ids=lambda cause: cause.what)
def test_a_service_does_not_start_with_an_invalid_address(chosen: Settings, agencies_file: Path, cause: Cause) -> None:
    valid = {"DDOR_AGENCIES_FILE": str(agencies_file), "DDOR_FIRST_WEEK": "2014-10-11"}
    for service in ("aggregator", "publisher"):
        assert cause.sentence in failure(wrong(chosen, cause), service, "serve", **valid)


def test_an_import_reports_once_that_ingest_is_unavailable(chosen: Settings, tmp_path: Path) -> None:
    """The command exits with code 1 after its timeout. Run again, it resumes."""
    file = tmp_path / "events.ndjson"
    file.write_text(json.dumps({"specversion": "1.0", "data": {}}) + "\n")
    sending = {"DDOR_AGENCY": "demo", "DDOR_AGENCY_KEY": "planted", "DDOR_INGEST_URL": f"http://127.0.0.1:{UNUSED}"}
    arguments = ("import", str(file), "--profile", "cloudevents", "--dataset", "one", "--journal", str(tmp_path / "j"))
    with stamina.set_testing(True, attempts=4):
        code, _, err = run(chosen, *arguments, **sending)
    lines = [line for line in err.splitlines() if "ingest at" in line]
    assert (code, len(lines)) == (1, 2), err
    assert lines[0].startswith(f"Waiting: ingest at 127.0.0.1:{UNUSED} does not respond (")
    assert "check that it runs and that DDOR_INGEST_URL is its address" in lines[0]
    assert lines[1].startswith("Not finished: ")
    assert "stamina" not in err
    assert "DDOR_AGENCY_KEY" in failure(chosen, *arguments, **{**sending, "DDOR_AGENCY_KEY": "a b"})
    assert "DDOR_INGEST_URL: " in failure(chosen, *arguments, **{**sending, "DDOR_INGEST_URL": "http://host:99999"})


def test_verify_reports_a_missing_report_and_an_invalid_revision(chosen: Settings) -> None:
    assert "there is no report yet" in failure(chosen, "verify")
    for what in ("@x", "2014-10-11@x", "2014-10-11@1@2"):
        assert "write the revision as a number, as in " in failure(chosen, "verify", what)
