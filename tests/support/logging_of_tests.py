"""The configuration of structlog in the process of the tests. A plugin of pytest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


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
