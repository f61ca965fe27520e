"""Certificate authorities and certificates for tests."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.runtime.settings import Settings
from services.runtime.tls import server
from services.runtime.tls.reloaded import Reloaded

LOOPBACK = ipaddress.ip_address("127.0.0.1")
DAY = timedelta(days=1)


def https(directory: Path) -> tuple[Reloaded[ssl.SSLContext], ssl.SSLContext]:
    """The contexts of a server for 127.0.0.1, and of a client that trusts it. The files tls.crt and tls.key."""
    authority = Authority()
    return contexts(*authority.issue().write(directory)), ssl.create_default_context(cadata=authority.pem.decode())


def contexts(certificate: Path, key: Path) -> Reloaded[ssl.SSLContext]:
    """The contexts of a server with these files. Raises ConfigurationError."""
    found = server.contexts(Settings(tls_cert_file=certificate, tls_key_file=key))
    assert found is not None
    return found


class Issued(NamedTuple):
    """A certificate with its chain and key, in PEM format."""

    certificate: bytes
    key: bytes
    ends: datetime

    def write(self, directory: Path, name: str = "tls") -> tuple[Path, Path]:
        """Write NAME.crt and NAME.key. Each replaces a previous file at once."""
        files = directory / f"{name}.crt", directory / f"{name}.key"
        for file, content in zip(files, (self.certificate, self.key), strict=True):
            replace(file, content)
        return files


def replace(file: Path, content: bytes) -> Path:
    """Write a file that replaces a previous one at once."""
    new = file.with_suffix(".new")
    new.write_bytes(content)
    new.chmod(0o600 if file.suffix == ".key" else 0o644)
    os.replace(new, file)
    return file


class Authority:
    """A certificate authority."""

    def __init__(self, name: str = "test CA") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self._certificate = (
            _builder(self._name, self._name, self._key, datetime.now(UTC) + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        """Its own certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def write(self, file: Path) -> Path:
        """Write its certificate to a file."""
        return replace(file, self.pem)

    def issue(self, name: str = "127.0.0.1", *, days: float = 20, hosts: Sequence[str] = ()) -> Issued:
        """A certificate for 127.0.0.1, or only for `hosts`. With negative `days` it has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        ends = (datetime.now(UTC) + days * DAY).replace(microsecond=0)
        names: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts] or [x509.IPAddress(LOOPBACK)]
        certificate = (
            _builder(_name(name), self._name, key, ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Issued(certificate.public_bytes(serialization.Encoding.PEM) + self.pem, private(key), ends)


def private(key: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    """A key in PEM format (PKCS #8)."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(ends, datetime.now(UTC)) - DAY)
        .not_valid_after(ends)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
