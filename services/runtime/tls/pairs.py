"""A certificate with its private key, from two PEM files, with one sentence for each problem."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

from services.runtime.errors import ConfigurationError


class Pair(NamedTuple):
    """The settings of the two files, and the files."""

    certificate_setting: str
    certificate: Path
    key_setting: str
    key: Path

    @property
    def files(self) -> tuple[Path, Path]:
        """Both files."""
        return self.certificate, self.key


def load(context: ssl.SSLContext, pair: Pair) -> None:
    """Load the pair into a new context. Raises ConfigurationError with the setting, the file and the problem.

    The certificate file may contain the chain. An expired certificate is loaded: the metric and its alert report it.
    """
    for setting, file in ((pair.certificate_setting, pair.certificate), (pair.key_setting, pair.key)):
        readable(setting, file)
    try:
        # Without the argument, OpenSSL would ask for the password of an encrypted key on the terminal.
        context.load_cert_chain(pair.certificate, pair.key, password=lambda: "")
    except ssl.SSLError as error:
        raise ConfigurationError(_problem(pair, error.reason or "unusable")) from None
    except OSError as error:  # removed since it was read
        raise ConfigurationError(f"{pair.certificate_setting}, {pair.key_setting}: {error.strerror}") from None


def readable(setting: str, file: Path) -> bytes:
    """The bytes of a file. Raises ConfigurationError."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{setting}: {file}: {error.strerror}") from None


def _problem(pair: Pair, reason: str) -> str:
    """What is wrong. OpenSSL's reason does not name the file."""
    # cryptography takes longer to import than the rest of a small command
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415

    of_certificate = f"{pair.certificate_setting}: {pair.certificate}"
    of_key = f"{pair.key_setting}: {pair.key}"
    unusable = f"{of_certificate}: cannot be used with {pair.key} ({reason.replace('_', ' ').lower()})"
    try:
        load_pem_x509_certificates(pair.certificate.read_bytes())
    except (ValueError, OSError):
        return f"{of_certificate}: contains no certificate in PEM format"
    try:
        load_pem_private_key(pair.key.read_bytes(), None)
    except TypeError:
        return f"{of_key}: is encrypted: store the key without a password, in a file that only the service can read"
    except UnsupportedAlgorithm:
        return unusable
    except (ValueError, OSError):
        return f"{of_key}: contains no private key in PEM format"
    if reason == "KEY_VALUES_MISMATCH":
        return f"{of_key}: is not the key of the first certificate in {pair.certificate}"
    return unusable
