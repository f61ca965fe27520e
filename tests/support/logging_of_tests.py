"""The configuration of structlog in the process of the tests. A plugin of pytest."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from services.runtime import logs
from services.runtime.settings import Settings


def pytest_configure() -> None:
    """Plain tracebacks, as in the services. structlog's default shows local variables: seconds on a busy machine."""
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


@pytest.fixture(autouse=True)
def _same_logging() -> Iterator[None]:
    """A test may run a command in this process, which configures structlog."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def log_lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """The log of a service in this process, as JSON."""
    root = logging.getLogger()
    handlers, level, stream = root.handlers, root.level, io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(Settings(log_format="json"), "ingest")
    yield stream
    root.handlers, root.level = handlers, level
