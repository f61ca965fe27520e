"""Settings of certificates: pairs of files, and what they need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.runtime import kafka, settings
from services.runtime.errors import ConfigurationError
from tests.unit.sample_settings import refused


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DDOR_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("pair", [("TLS_CERT_FILE", "TLS_KEY_FILE"), ("KAFKA_SSL_CERTFILE", "KAFKA_SSL_KEYFILE")])
def test_a_certificate_and_its_key_are_both_set_or_neither(
    monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str]
) -> None:
    monkeypatch.setenv("DDOR_KAFKA_SECURITY_PROTOCOL", "SSL")
    for one, other in (pair, pair[::-1]):
        monkeypatch.setenv(f"DDOR_{one}", "planted.pem")
        assert f"set both DDOR_{pair[0]} and DDOR_{pair[1]}, or neither" in refused()
        monkeypatch.setenv(f"DDOR_{other}", "planted.pem")
        settings.load()
        monkeypatch.delenv(f"DDOR_{one}")
        monkeypatch.delenv(f"DDOR_{other}")


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_a_client_certificate_for_kafka_needs_tls(monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    for name in ("KAFKA_SSL_CERTFILE", "KAFKA_SSL_KEYFILE", "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"):
        monkeypatch.setenv(f"DDOR_{name}", "planted.pem")
    monkeypatch.setenv("DDOR_KAFKA_SECURITY_PROTOCOL", protocol)
    assert "DDOR_KAFKA_SSL_CERTFILE needs DDOR_KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL" in refused()


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file or directory"), ("planted", "contains no certificate")]
)
def test_an_invalid_file_of_ca_certificates_is_named(tmp_path: Path, content: str | None, reason: str) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    chosen = settings.Settings(kafka_security_protocol="SSL", kafka_ssl_cafile=file)
    with pytest.raises(ConfigurationError) as caught:
        kafka.client(chosen, "ddor-test")
    assert str(caught.value) == f"DDOR_KAFKA_SSL_CAFILE: {file}: {reason}"
