"""services.runtime.tls: files that cannot be used are named with their setting, and changes are seen."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import REGISTRY

from services.runtime.errors import ConfigurationError
from services.runtime.settings import Settings
from services.runtime.tls import expiry
from services.runtime.tls.expiry import Expiries
from tests.support import certificates
from tests.support.certificates import Authority, private

METRIC = "ddor_certificate_expiry_timestamp_seconds"


def refusal(certificate: Path, key: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        certificates.contexts(certificate, key)
    return str(caught.value)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return Authority().issue().write(tmp_path)


def test_a_usable_pair_has_a_context(files: tuple[Path, Path]) -> None:
    certificates.contexts(*files)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        (b"", "contains no certificate in PEM format"),
        (b"planted", "contains no certificate in PEM format"),
        (b"-----BEGIN CERTIFICATE-----\nplanted\n", "contains no certificate in PEM format"),
    ],
)
def test_an_unusable_certificate_is_named(files: tuple[Path, Path], content: bytes | None, problem: str) -> None:
    certificate, key = files
    certificate.unlink()
    if content is not None:
        certificate.write_bytes(content)
    assert refusal(certificate, key) == f"DDOR_TLS_CERT_FILE: {certificate}: {problem}"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        (b"planted", "contains no private key in PEM format"),
        (
            private(ec.generate_private_key(ec.SECP256R1()), b"planted"),
            "is encrypted: store the key without a password, in a file that only the service can read",
        ),
        (private(ec.generate_private_key(ec.SECP256R1())), "is not the key of the first certificate in {certificate}"),
    ],
)
def test_an_unusable_key_is_named(files: tuple[Path, Path], content: bytes | None, problem: str) -> None:
    certificate, key = files
    key.unlink()
    if content is not None:
        key.write_bytes(content)
    assert refusal(certificate, key) == f"DDOR_TLS_KEY_FILE: {key}: {problem.format(certificate=certificate)}"


def test_a_directory_is_named(files: tuple[Path, Path], tmp_path: Path) -> None:
    assert refusal(tmp_path, files[1]) == f"DDOR_TLS_CERT_FILE: {tmp_path}: Is a directory"


def test_each_change_is_loaded_once(files: tuple[Path, Path], tmp_path: Path) -> None:
    contexts = certificates.contexts(*files)
    first = contexts.current
    assert not contexts.refresh()
    Authority().issue().write(tmp_path)
    assert contexts.refresh()
    assert contexts.current is not first
    assert not contexts.refresh()
    files[1].unlink()
    assert not contexts.refresh(), "a missing file is no new certificate"


def test_a_change_that_keeps_time_and_size_is_a_change(files: tuple[Path, Path]) -> None:
    contexts = certificates.contexts(*files)
    was = files[0].stat()
    files[0].write_bytes(files[0].read_bytes())
    os.utime(files[0], ns=(was.st_atime_ns, was.st_mtime_ns))
    assert contexts.refresh()


def shown(use: str) -> float | None:
    return REGISTRY.get_sample_value(METRIC, {"use": use})


def test_the_metric_has_the_end_of_each_file_and_follows_it(tmp_path: Path) -> None:
    authority = Authority()
    issued = authority.issue(days=5)
    certificate, _ = issued.write(tmp_path)
    expiries = Expiries({"https": certificate, "kafka-ca": authority.write(tmp_path / "ca.pem")})
    expiries.refresh()
    assert shown("https") == issued.ends.timestamp(), "of the chain, the certificate that ends first"
    ends = shown("kafka-ca")
    assert ends is not None
    assert timedelta(days=29) < datetime.fromtimestamp(ends, UTC) - datetime.now(UTC) < timedelta(days=31)
    renewed = authority.issue(days=10)
    renewed.write(tmp_path)
    expiries.refresh()
    assert shown("https") == renewed.ends.timestamp()
    certificate.write_text("planted")
    expiries.refresh()
    assert shown("https") == renewed.ends.timestamp(), "an unusable file is not in use"


def test_the_latest_certificate_of_a_ca_file_counts(tmp_path: Path) -> None:
    """The predecessor of a CA may expire while it is still in the file."""
    both = tmp_path / "ca.pem"
    both.write_bytes(Authority().issue(days=-3).certificate)
    end = expiry.expires("postgresql-ca", both)
    assert end is not None
    assert end > datetime.now(UTC)


def test_the_uses_are_those_of_the_settings(tmp_path: Path) -> None:
    assert expiry.configured(Settings()) == {}
    certificate, key = Authority().issue().write(tmp_path)
    dsn = f"postgresql://ddor@localhost/ddor?sslcert={certificate}&sslkey={key}&sslrootcert=%2Fca.pem"
    chosen = Settings(
        tls_cert_file=certificate,
        tls_key_file=key,
        kafka_security_protocol="SSL",
        kafka_ssl_certfile=certificate,
        kafka_ssl_keyfile=key,
        postgres_dsn=dsn,
        reader_postgres_dsn="postgresql://reader@localhost/ddor?sslrootcert=/ca.pem",
    )
    assert expiry.configured(chosen) == {
        "https": certificate,
        "kafka-client": certificate,
        "postgresql-client": certificate,
        "postgresql-ca": Path("/ca.pem"),
        "postgresql-reader-ca": Path("/ca.pem"),
    }
