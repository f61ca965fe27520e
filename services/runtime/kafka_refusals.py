"""Why no broker accepts a connection. aiokafka logs the errors of its attempts, and raises one without them."""

from __future__ import annotations

import ssl
from typing import Final

from aiokafka.client import AIOKafkaClient
from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from services.runtime.errors import AwayError, ConfigurationError

_LOGIN: Final = (
    AuthenticationFailedError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
    IllegalSaslStateError,
)
_FILES = "DDOR_KAFKA_SSL_CERTFILE and DDOR_KAFKA_SSL_KEYFILE"


async def cause(client: object) -> Exception | None:
    """Try each broker once more. Returns the first error that a setting causes, None if there is none.

    `client` is one of aiokafka's clients, whose start has failed.
    """
    inner = client
    if not isinstance(inner, AIOKafkaClient):
        inner = getattr(client, "client", None) or getattr(client, "_client", None)
    if not isinstance(inner, AIOKafkaClient) or inner._security_protocol == "PLAINTEXT":
        return None
    for host, port, _ in inner.hosts:
        try:
            connection = await create_conn(
                host,
                port,
                client_id=inner._client_id,
                request_timeout_ms=inner._request_timeout_ms,
                ssl_context=inner._ssl_context,
                security_protocol=inner._security_protocol,
                sasl_mechanism=inner._sasl_mechanism,
                sasl_plain_username=inner._sasl_plain_username,
                sasl_plain_password=inner._sasl_plain_password,
            )
        except (KafkaError, OSError, TimeoutError) as error:
            uses_tls = inner._security_protocol.endswith("SSL")
            if (found := _named(error, f"Kafka at {host}:{port}", uses_tls=uses_tls)) is not None:
                return found
        else:
            await connection.close()
    return None


def _named(error: Exception, where: str, *, uses_tls: bool) -> Exception | None:
    """The error for the operator."""
    if isinstance(error, _LOGIN):
        return error
    if isinstance(error, ssl.SSLError):
        return ConfigurationError(_of_tls(error, where))
    if isinstance(error.__cause__, ssl.SSLError):
        return ConfigurationError(_of_tls(error.__cause__, where))
    if uses_tls and isinstance(error, KafkaConnectionError):
        # With TLS 1.3 the broker checks the client's certificate after the handshake. Its reason can be lost.
        return AwayError(
            f"{where} has closed the connection after the TLS handshake: if it requires a client certificate, correct"
            f" {_FILES}; else check its log"
        )
    return None


def _of_tls(error: ssl.SSLError, where: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message
        return (
            f"{where} has a certificate that is not trusted ({why}): correct DDOR_KAFKA_SSL_CAFILE, or the host in"
            " DDOR_KAFKA_BOOTSTRAP"
        )
    reason = error.reason or "closed"
    said = reason.rpartition("ALERT_")[2].replace("_", " ").lower()
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return f"{where} refuses the client certificate, or requires one ({said}): correct {_FILES}"
    return f"TLS with {where} failed ({said}): correct DDOR_KAFKA_BOOTSTRAP or DDOR_KAFKA_SECURITY_PROTOCOL"
