"""Structured logs: one event per line. They never contain payloads, keys or personal data."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

import asyncpg
import structlog
from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

from services.runtime import request_id
from services.runtime.settings import Settings

# Without local variables, which can contain keys, passwords and events.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


class RateLimitFilter(logging.Filter):
    """Passes the same message of the Kafka client once in ten seconds, and all other messages always.

    A consumer whose partitions have no leader retries without a pause and logs each attempt: a thousand lines per
    second while no broker responds.
    """

    _PAUSE = 10.0
    _MAX_MESSAGES = 100

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._shown_at: dict[tuple[str, object], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to show the record."""
        if not record.name.startswith("aiokafka"):
            return True
        now, message = self._clock(), (record.name, record.msg)
        if now - self._shown_at.get(message, -self._PAUSE) < self._PAUSE:
            return False
        if len(self._shown_at) >= self._MAX_MESSAGES:
            self._shown_at.clear()
        self._shown_at[message] = now
        return True


def for_commands() -> None:
    """Send structlog's warnings to stderr, as text. The output of a command on stdout stays free of logs."""
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_rows,
            _text(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _text() -> structlog.dev.ConsoleRenderer:
    """Text for a terminal. Its default for tracebacks would show local variables, and take long."""
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)


def configure(settings: Settings, service: str) -> None:
    """Send structlog and the standard library's loggers to stderr in one format, as JSON or for a terminal."""
    shared: list[structlog.typing.Processor] = [
        lambda _logger, _method, event: {"service": service, **_ids(), **event},
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_rows,
    ]
    if settings.log_format == "json":
        renderer: list[structlog.typing.Processor] = [
            _TRACEBACKS,
            structlog.processors.JSONRenderer(),
        ]
    else:
        renderer = [_text()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    handler.addFilter(RateLimitFilter(time.monotonic))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    for chatty in ("aiokafka", "faststream", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Logs an error on each start of a new cluster because a group has no coordinator yet. Only the lag uses a group.
    logging.getLogger("aiokafka.consumer.group_coordinator").setLevel(logging.CRITICAL)


def _ids() -> dict[str, str]:
    """The ids of the request and of the span that the task processes."""
    known, span = request_id.current(), get_current_span().get_span_context()
    ids = {} if known is None else {"request_id": known}
    if span.is_valid:
        ids |= {"trace_id": format_trace_id(span.trace_id), "span_id": format_span_id(span.span_id)}
    return ids


def _without_rows(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Remove the DETAIL from PostgreSQL errors: it quotes the row that failed."""
    given = event.get("exc_info")
    found = given[1] if isinstance(given, tuple) else sys.exc_info()[1] if given is True else given
    errors = [found]
    while errors:
        error = errors.pop()
        if isinstance(error, asyncpg.PostgresError):
            error.detail = None
        if isinstance(error, BaseExceptionGroup):
            errors += error.exceptions
        if isinstance(error, BaseException):
            errors += [error.__cause__, error.__context__]
    return event


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger. Call it with an event name and fields: `log.info("batch-written", records=5)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
