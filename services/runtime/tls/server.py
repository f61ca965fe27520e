"""The certificate of the HTTP server."""

from __future__ import annotations

import ssl

from services.runtime.settings import Settings
from services.runtime.tls import pairs
from services.runtime.tls.pairs import Pair
from services.runtime.tls.reloaded import Reloaded


def pair(settings: Settings) -> Pair | None:
    """The files of the server's certificate and key, or None without TLS."""
    certificate, key = settings.tls_cert_file, settings.tls_key_file
    if certificate is None or key is None:
        return None
    return Pair("DDOR_TLS_CERT_FILE", certificate, "DDOR_TLS_KEY_FILE", key)


def contexts(settings: Settings) -> Reloaded[ssl.SSLContext] | None:
    """The context for new connections, or None without TLS. Raises ConfigurationError if a file is unusable."""
    files = pair(settings)
    return None if files is None else Reloaded("https", files.files, lambda: _context(files))


def _context(files: Pair) -> ssl.SSLContext:
    """A new context for each change, so that a broken pair leaves the previous one unchanged."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # No resumed sessions: each connection uses the current certificate, and no ticket key lives as long as the process.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    pairs.load(context, files)
    return context
