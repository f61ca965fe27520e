"""The HTTP client of an import, and the sentence for a certificate that it does not trust."""

from __future__ import annotations

import os
import ssl

import httpx

from services.runtime.errors import ConfigurationError

_CA_FILE = "SSL_CERT_FILE"
"""httpx reads this variable, as OpenSSL's programs and Go do. The file replaces the public CAs."""


class NotTrustedError(ConfigurationError):
    """The certificate of ingest is not trusted."""


def client(url: str, timeout: httpx.Timeout) -> httpx.AsyncClient:
    """A client for ingest at this address. Raises ConfigurationError if the file of CA certificates is unusable."""
    try:
        return httpx.AsyncClient(base_url=url, timeout=timeout)
    except OSError as error:
        why = "contains no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigurationError(f"{_CA_FILE}: {os.environ.get(_CA_FILE)}: {why}") from None


def check(error: Exception, where: str) -> None:
    """Raise NotTrustedError if this error of a request to `where` is due to the certificate. A retry is no use."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, ssl.SSLCertVerificationError):
            raise NotTrustedError(
                f"ingest at {where} has a certificate that is not trusted ({found.verify_message}): set {_CA_FILE} to"
                " the file of its CA, or correct the host in DDOR_INGEST_URL"
            )
        found = found.__cause__ or found.__context__
