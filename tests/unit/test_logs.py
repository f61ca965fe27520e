"""services.runtime.logs: one event per line, without local variables."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import asyncpg
import pytest
import structlog

from services.runtime import logs
from services.runtime.settings import Settings

SECRET = "planted-secret-5e7f"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Restore the logging configuration of the process."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    levels = {name: logging.getLogger(name).level for name in ("uvicorn.access", "aiokafka", "faststream", "httpx")}
    coordinator = logging.getLogger("aiokafka.consumer.group_coordinator")
    quiet = coordinator.level
    yield
    root.handlers, root.level = handlers, level
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    coordinator.setLevel(quiet)
    structlog.contextvars.clear_contextvars()


def written(monkeypatch: pytest.MonkeyPatch, log_format: str) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(Settings(log_format=log_format), "ingest")
    return stream


def fail() -> None:
    """Fails with a secret in local variables of two frames and in an argument."""
    key = SECRET

    def deeper(password: str) -> None:
        event = {"name": password}
        raise RuntimeError("it failed", len(event))

    deeper(key)


def fail_because_of(error: Exception) -> None:
    """Fails with this error as the cause."""
    try:
        raise error
    except type(error) as cause:
        raise RuntimeError("the outer one") from cause


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("logger", ["structlog", "standard library"])
def test_a_traceback_shows_where_and_never_what(monkeypatch: pytest.MonkeyPatch, log_format: str, logger: str) -> None:
    stream = written(monkeypatch, log_format)
    try:
        fail()
    except RuntimeError:
        if logger == "structlog":
            logs.get("tests").exception("session-failed", what="Kafka")
        else:
            logging.getLogger("uvicorn.error").exception("session-failed")
    text = stream.getvalue()
    assert SECRET not in text
    assert "session-failed" in text
    assert "RuntimeError" in text
    assert "deeper" in text


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("within", ["alone", "a cause", "a group"])
def test_a_row_that_postgresql_quotes_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, log_format: str, within: str
) -> None:
    fields = {"S": "ERROR", "C": "23514", "M": "violates check constraint", "D": f"Failing row contains ({SECRET})."}
    failed = asyncpg.PostgresError.new(fields)
    assert SECRET in str(failed)
    stream = written(monkeypatch, log_format)
    if within == "a group":
        logs.get("tests").error("record-failed", exc_info=ExceptionGroup("tasks", [failed]))
    elif within == "alone":
        logging.getLogger("uvicorn.error").error("record-failed", exc_info=failed)
    else:
        try:
            fail_because_of(failed)
        except RuntimeError:
            logs.get("tests").exception("record-failed")
    assert SECRET not in stream.getvalue()
    assert "violates check constraint" in stream.getvalue()


def test_json_has_one_object_per_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written(monkeypatch, "json")
    logs.get("tests").info("batch-written", records=5)
    logging.getLogger("uvicorn.error").warning("%s of %s", "one", 2)
    first, second = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (first["event"], first["records"], first["level"], first["logger"], first["service"]) == (
        "batch-written",
        5,
        "info",
        "tests",
        "ingest",
    )
    assert (second["event"], second["level"]) == ("one of 2", "warning")
    assert first["timestamp"].endswith("Z")


def test_a_failure_is_one_line_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written(monkeypatch, "json")
    try:
        fail()
    except RuntimeError:
        logs.get("tests").exception("session-failed")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["exception"][0]["exc_type"] == "RuntimeError"


def test_repeated_messages_of_a_client_library_are_shown_every_ten_seconds() -> None:
    clock = [0.0]
    seldom = logs.RateLimitFilter(lambda: clock[0])

    def shown(name: str, words: str, *arguments: object) -> bool:
        return seldom.filter(logging.LogRecord(name, logging.ERROR, "", 0, words, arguments, None))

    message = "Unable connect to node with id %s"
    assert shown("aiokafka", message, 1)
    assert not any(shown("aiokafka", message, node) for node in range(1_000))
    assert shown("aiokafka", "Unable to update metadata from %s", [1])
    assert shown("aiokafka.consumer.fetcher", message, 1)
    assert all(shown("services.runtime.supervise", "session-ended") for _ in range(3)), (
        "the project's own messages are always shown"
    )
    clock[0] = 10.0
    assert shown("aiokafka", message, 1)
    for number in range(1_000):
        assert shown("aiokafka", f"never the same: {number}")
    assert len(seldom._shown_at) <= 100


def test_verbose_client_messages_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written(monkeypatch, "json")
    for name in ("aiokafka", "faststream", "httpx", "uvicorn.access"):
        logging.getLogger(name).info("chatter")
    assert stream.getvalue() == ""
