"""Structured logs: one event a line, with names and numbers, never with a payload, a key or a personal field."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

import asyncpg
import structlog

from services.runtime.settings import Settings

# Never with local variables: they hold keys, passwords and events.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


class Seldom(logging.Filter):
    """Lets the same words of the Kafka client through once in ten seconds, and all else always.

    A consumer whose partitions have no leader asks for it without a pause, and says so each time: a thousand lines a
    second for as long as no broker answers.
    """

    _PAUSE = 10.0
    _KEPT = 100

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._said_at: dict[tuple[str, object], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is shown."""
        if not record.name.startswith("aiokafka"):
            return True
        now, words = self._clock(), (record.name, record.msg)
        if now - self._said_at.get(words, -self._PAUSE) < self._PAUSE:
            return False
        if len(self._said_at) >= self._KEPT:
            self._said_at.clear()
        self._said_at[words] = now
        return True


def configure(settings: Settings, service: str) -> None:
    """Send structlog and the standard library's loggers to stderr in one format, as JSON or for a terminal."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
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
        plain = structlog.dev.plain_traceback
        renderer = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
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
    handler.addFilter(Seldom(time.monotonic))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    for chatty in ("aiokafka", "faststream", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Says at every start of a new cluster that nobody leads a group yet; only the lag view has a group.
    logging.getLogger("aiokafka.consumer.group_coordinator").setLevel(logging.CRITICAL)
    structlog.contextvars.bind_contextvars(service=service)


def _without_rows(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Take the DETAIL out of errors of PostgreSQL that are about to be shown: it quotes the row that failed."""
    said = event.get("exc_info")
    found = said[1] if isinstance(said, tuple) else sys.exc_info()[1] if said is True else said
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
    """A logger; call it with an event's name and fields: `log.info("batch-written", records=5)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
