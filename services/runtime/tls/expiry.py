"""When the certificates in the configured files expire, as a metric."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from services.runtime import dsn, metrics
from services.runtime.settings import Settings
from services.runtime.tls.reloaded import Stamp, stamp

_CA = "-ca"


def configured(settings: Settings) -> dict[str, Path]:
    """The files with certificates that these settings name, by use."""
    files = {"https": settings.tls_cert_file}
    if settings.kafka_security_protocol.endswith("SSL"):
        files |= {"kafka-client": settings.kafka_ssl_certfile, f"kafka{_CA}": settings.kafka_ssl_cafile}
    for use, address in (("postgresql", settings.postgres_dsn), ("postgresql-reader", settings.reader_postgres_dsn)):
        if address is not None:
            client, root = dsn.certificates(address.get_secret_value())
            files |= {f"{use}-client": client, f"{use}{_CA}": root}
    return {use: file for use, file in files.items() if file is not None}


class Expiries:
    """Sets the metric when a file changes. A file without a certificate leaves the metric unchanged."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self.files = dict(files)
        self._stamps: dict[str, Stamp] = {}

    def refresh(self) -> None:
        """Read the files that have changed since the last call."""
        for use, file in self.files.items():
            found = stamp(file)
            if found is not None and found != self._stamps.get(use):
                self._stamps[use] = found
                if (end := expires(use, file)) is not None:
                    metrics.CERTIFICATE_EXPIRY.labels(use).set(end.timestamp())


def expires(use: str, file: Path) -> datetime | None:
    """The end of the period of validity, in UTC: the earliest end of a chain, the latest end of CA certificates.

    A bundle keeps the expired CA beside its successor for a while, and public bundles always contain some. None if the
    file has no certificate or cannot be read.
    """
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415  # as in `pairs`

    try:
        ends = [one.not_valid_after_utc for one in load_pem_x509_certificates(file.read_bytes())]
    except (ValueError, OSError):
        return None
    return max(ends) if use.endswith(_CA) else min(ends)
