"""Settings of all commands, from `DDOR_` environment variables. Each secret can also be a file: `…_FILE`."""

from __future__ import annotations

import os
import re
import socket
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.a_number import impersonal
from schemas.week import ReportingCalendar, Weekday
from services.runtime import zones
from services.runtime.errors import ConfigurationError

_SECRETS = ("postgres_dsn", "reader_postgres_dsn", "kafka_sasl_password", "agency_key", "desk_key")


def _zone(name: str) -> str:
    try:
        zones.zone(name)
    except ZoneInfoNotFoundError as error:
        raise ValueError("is not an IANA time zone, such as America/New_York") from error
    return name


def _weekday(value: object) -> object:
    return Weekday[value.upper()] if isinstance(value, str) and value.upper() in Weekday.__members__ else value


def _duration(value: object) -> object:
    if not isinstance(value, str) or not value.isdecimal():
        return value
    try:
        return timedelta(seconds=int(value))
    except (ValueError, OverflowError) as error:
        raise ValueError("duration is too large") from error


def _brokers(text: str) -> str:
    for one in text.split(","):
        host, _, port = one.strip().rpartition(":")
        if not host or not port.isascii() or not port.isdecimal() or not 1 <= int(port[:9]) <= _MAX_PORT:
            raise ValueError("must be HOST:PORT, or several separated by commas, with ports from 1 to 65535")
    return ",".join(one.strip() for one in text.split(","))


def _http_address(text: str) -> str:
    try:
        parts = urlsplit(text)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # invalid port
        right = False
    if not right:
        raise ValueError("must be a URL such as http://127.0.0.1:8081")
    return text


def _hard_to_guess(key: SecretStr) -> SecretStr:
    text = key.get_secret_value()
    if len(text) < 20 or len(set(text)) < 8 or not (text.isascii() and text.isprintable()):
        raise ValueError("must have at least 20 ASCII characters, 8 of them different: use a random one")
    return key


def _contact(text: str) -> str:
    try:
        parts = urlsplit(text)
        https = parts.scheme == "https" and bool(parts.hostname) and not parts.username and parts.port != 0
    except ValueError:  # invalid port
        https = False
    if len(text) > _LONGEST_CONTACT or not (_MAIL(text) or (https and _PRINTABLE(text))):
        raise ValueError("must be a URL such as mailto:reports@example.org or https://example.org/contact")
    return text


_LONGEST_CONTACT = 300
_MAIL = re.compile(r"mailto:[A-Za-z0-9.+_-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+").fullmatch
_PRINTABLE = re.compile(r"[!-~]+").fullmatch
_MAX_PORT = 65_535
_Port = Annotated[int, Field(ge=1, le=_MAX_PORT)]


class Settings(BaseSettings):
    """One field for each `DDOR_` variable. Durations are seconds or ISO 8601, such as PT24H."""

    model_config = SettingsConfigDict(env_prefix="DDOR_", extra="ignore", frozen=True)

    kafka_bootstrap: Annotated[str, AfterValidator(_brokers)] = "127.0.0.1:9092"
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_cafile: Path | None = None
    kafka_ssl_certfile: Path | None = None
    kafka_ssl_keyfile: Path | None = None
    kafka_replication: Annotated[int, Field(ge=1, le=9)] = 3
    postgres_dsn: SecretStr = SecretStr("postgresql://ddor@127.0.0.1:5432/ddor")
    reader_postgres_dsn: SecretStr | None = Field(
        default=None, description="The publisher's connections for readers; default: postgres_dsn."
    )
    agencies_file: Path = Path("agencies.toml")
    zone: Annotated[str, AfterValidator(_zone)] = "America/New_York"
    week_starts_on: Annotated[Weekday, BeforeValidator(_weekday)] = Weekday.SATURDAY
    grace: Annotated[timedelta, BeforeValidator(_duration)] = timedelta(hours=24)
    first_week: date | None = None
    restatement_weeks: Annotated[int, Field(ge=0, le=520)] = 8
    hold: Annotated[timedelta, BeforeValidator(_duration)] = timedelta(hours=24)
    line_list: Literal["off", "coarse", "full"] = "off"
    line_list_basis: Annotated[str, AfterValidator(impersonal)] | None = Field(
        default=None, description="The law that requires a full list of declines."
    )
    demonstration: bool = False
    note: Annotated[str, AfterValidator(impersonal)] | None = Field(
        default=None, description="Shown in every rendering of a demonstration report."
    )
    contact: Annotated[str, AfterValidator(_contact), AfterValidator(impersonal)] | None = Field(
        default=None, description="The publisher of the reports: a mail address or a page, shown on pages."
    )
    host: str = "127.0.0.1"
    ingest_port: _Port = 8081
    aggregator_port: _Port = 8082
    publisher_port: _Port = 8083
    metrics_port: _Port | None = Field(default=None, description="Only this port serves health and metrics.")
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    connections: Annotated[int, Field(ge=16, le=100_000)] = 1_024
    connections_per_address: Annotated[int, Field(ge=1, le=100_000)] = 256
    desk_key: Annotated[SecretStr, AfterValidator(_hard_to_guess)] | None = None
    worker: str = Field(default="", description="Name of this aggregator; default host:port.")
    ingest_url: Annotated[str, AfterValidator(_http_address)] = "http://127.0.0.1:8081"
    agency: str | None = None
    agency_key: SecretStr | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"

    @model_validator(mode="before")
    @classmethod
    def _secrets_from_files(cls, values: Any) -> Any:  # pydantic's raw input
        """Read secrets from `DDOR_X_FILE`. Setting `DDOR_X` too is an error."""
        for name in _SECRETS:
            path = os.environ.get(f"DDOR_{name.upper()}_FILE")
            if path is None:
                continue
            if name in values:
                raise ValueError(f"set DDOR_{name.upper()} or DDOR_{name.upper()}_FILE, not both")
            values[name] = Path(path).read_text(encoding="utf-8-sig").strip()
        return values

    @model_validator(mode="after")
    def _full_list_has_a_basis(self) -> Self:
        if self.line_list == "full" and not self.line_list_basis:
            raise ValueError("DDOR_LINE_LIST=full needs DDOR_LINE_LIST_BASIS: the law that requires it")
        return self

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        if self.kafka_security_protocol.startswith("SASL") and not (
            self.kafka_sasl_username and self.kafka_sasl_password
        ):
            raise ValueError(
                f"DDOR_KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol} needs DDOR_KAFKA_SASL_USERNAME and"
                " DDOR_KAFKA_SASL_PASSWORD"
            )
        return self

    @model_validator(mode="after")
    def _certificates_have_keys(self) -> Self:
        for certificate, key in (("tls_cert_file", "tls_key_file"), ("kafka_ssl_certfile", "kafka_ssl_keyfile")):
            if (getattr(self, certificate) is None) != (getattr(self, key) is None):
                raise ValueError(f"set both DDOR_{certificate.upper()} and DDOR_{key.upper()}, or neither")
        if self.kafka_ssl_certfile is not None and not self.kafka_security_protocol.endswith("SSL"):
            raise ValueError("DDOR_KAFKA_SSL_CERTFILE needs DDOR_KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL")
        return self

    @property
    def calendar(self) -> ReportingCalendar:
        """The calendar that assigns instants to weeks."""
        return ReportingCalendar(zones.zone(self.zone), self.week_starts_on)

    @property
    def provisional(self) -> timedelta:
        """How long after its first publication a week is restated automatically."""
        return timedelta(weeks=self.restatement_weeks)

    @property
    def worker_name(self) -> str:
        """Stable across restarts, and different for each process on a host."""
        return self.worker or f"{socket.gethostname()}:{self.aggregator_port}"


def load() -> Settings:
    """Read the environment. Raises ConfigurationError, which names the variable and the rule but never the value."""
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            f"DDOR_{'_'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
            if problem["loc"]
            else problem["msg"]
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(problems) from None
    except OSError as error:
        raise ConfigurationError(f"cannot read the file of a secret: {error}") from error
