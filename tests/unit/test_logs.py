"""services.runtime.logs: one event a line, and never a local variable, whatever fails."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from services.runtime import logs
from services.runtime.settings import Settings

SECRET = "planted-secret-5e7f"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is the process's: leave it as it was."""
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
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def written(monkeypatch: pytest.MonkeyPatch, log_format: str) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(Settings(log_format=log_format), "ingest")
    return stream


def fail() -> None:
    """Fails with a secret in a local variable of two frames and in an argument."""
    key = SECRET

    def deeper(password: str) -> None:
        event = {"name": password}
        raise RuntimeError("it failed", len(event))

    deeper(key)


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


def test_json_is_one_object_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_clients_do_not_chatter(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written(monkeypatch, "json")
    for name in ("aiokafka", "faststream", "httpx", "uvicorn.access"):
        logging.getLogger(name).info("chatter")
    assert stream.getvalue() == ""
