"""TLS with Kafka: a context that follows its files."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any

from aiokafka.helpers import create_ssl_context

from services.runtime.errors import ConfigurationError
from services.runtime.settings import Settings
from services.runtime.tls import pairs
from services.runtime.tls.pairs import Pair
from services.runtime.tls.reloaded import Reloaded


class FollowingContext(ssl.SSLContext):
    """A context whose connections use the content of the files at their beginning.

    aiokafka has one context for the life of a client. A CA certificate cannot be removed from a context, so each change
    of the files makes a new context. Like asyncpg, a new connection reads local files without a thread.
    """

    _files: Reloaded[ssl.SSLContext]

    @classmethod
    def of(cls, files: Reloaded[ssl.SSLContext]) -> FollowingContext:
        """The context that follows these files."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context._files = files
        return context

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """Begin a connection. asyncio and uvloop call this for each one."""
        self._files.refresh()
        return self._files.current.wrap_bio(*arguments, **named)


def context(settings: Settings) -> ssl.SSLContext | None:
    """The context for all connections, None without TLS. Raises ConfigurationError if a file is unusable."""
    if not settings.kafka_security_protocol.endswith("SSL"):
        return None
    files = (settings.kafka_ssl_cafile, settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile)
    return FollowingContext.of(_shared(*files))


@lru_cache(maxsize=4)
def _shared(cafile: Path | None, certfile: Path | None, keyfile: Path | None) -> Reloaded[ssl.SSLContext]:
    """One for all clients of the process, so that a change is logged once."""
    files = [file for file in (cafile, certfile, keyfile) if file is not None]
    return Reloaded("kafka", files, lambda: _load(cafile, certfile, keyfile))


def _load(cafile: Path | None, certfile: Path | None, keyfile: Path | None) -> ssl.SSLContext:
    try:
        loaded: ssl.SSLContext = create_ssl_context(cafile=str(cafile) if cafile else None)
    except OSError as error:
        why = "contains no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigurationError(f"DDOR_KAFKA_SSL_CAFILE: {cafile}: {why}") from None
    if certfile is not None and keyfile is not None:
        pairs.load(loaded, Pair("DDOR_KAFKA_SSL_CERTFILE", certfile, "DDOR_KAFKA_SSL_KEYFILE", keyfile))
    return loaded
