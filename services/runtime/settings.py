"""Settings of all commands, from `DDOR_` environment variables. Each secret can also be a file: `…_FILE`."""

from __future__ import annotations

import os
import socket
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.a_number import impersonal
from schemas.week import ReportingCalendar, Weekday
from services.runtime import setting_values, zones
from services.runtime.errors import ConfigurationError

_Port = Annotated[int, Field(ge=1, le=setting_values.MAX_PORT)]
_SECRETS = ("postgres_dsn", "reader_postgres_dsn", "kafka_sasl_password", "agency_key", "desk_key")


class Settings(BaseSettings):
    """One field for each `DDOR_` variable. Durations are seconds or ISO 8601, such as PT24H."""

    model_config = SettingsConfigDict(env_prefix="DDOR_", extra="ignore", frozen=True)

    kafka_bootstrap: Annotated[str, AfterValidator(setting_values.brokers)] = Field(
        "127.0.0.1:9092", description="Brokers, separated by commas."
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Whether connections use TLS (`SSL`) and a login (`SASL`)."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="How the login is proved, with `SASL_PLAINTEXT` and `SASL_SSL`."
    )
    kafka_sasl_username: str | None = Field(None, description="The user, with `SASL_PLAINTEXT` and `SASL_SSL`.")
    kafka_sasl_password: SecretStr | None = Field(None, description="The user's password.")
    kafka_ssl_cafile: Path | None = Field(None, description="CA certificates, PEM. Default: those of the system.")
    kafka_ssl_certfile: Path | None = Field(
        None,
        description="Client certificate, PEM. [Read again](security.md#tls) for new connections when it changes, as are"
        " the key and the CA file.",
    )
    kafka_ssl_keyfile: Path | None = Field(None, description="The key of the client certificate, PEM.")
    kafka_replication: Annotated[int, Field(ge=1, le=9)] = Field(
        3, description="For `ddor topics`: replicas of each partition. 1 on a single broker."
    )

    postgres_dsn: SecretStr = Field(
        SecretStr("postgresql://ddor@127.0.0.1:5432/ddor"),
        description="A libpq connection URI: [see below](#the-address-of-postgresql).",
    )
    reader_postgres_dsn: SecretStr | None = Field(
        None,
        description="For the publisher: the address for its pages, so that they have [a user with fewer"
        " rights](security.md#roles-of-postgresql). Default: that of `DDOR_POSTGRES_DSN`.",
    )

    agencies_file: Path = Field(
        Path("agencies.toml"),
        description="[The agencies, their scopes](#the-agencies-file) and their [keys](client-guide.md#keys). Read"
        " again when it changes.",
    )

    zone: Annotated[str, AfterValidator(setting_values.zone)] = Field(
        "America/New_York", description="The time zone of the reporting week. Permanent: [see below](#the-calendar)."
    )
    week_starts_on: Annotated[Weekday, BeforeValidator(setting_values.weekday)] = Field(
        Weekday.SATURDAY, description="The first day of the reporting week. Permanent: [see below](#the-calendar)."
    )

    grace: Annotated[timedelta, BeforeValidator(setting_values.duration)] = Field(
        timedelta(hours=24), description="Time between the end of a week and its close."
    )
    first_week: date | None = Field(
        None, description="First day of the earliest week that closes automatically. The publisher requires it."
    )
    restatement_weeks: Annotated[int, Field(ge=0, le=520)] = Field(
        8, description="Weeks after its first publication during which a week is restated automatically."
    )
    hold: Annotated[timedelta, BeforeValidator(setting_values.duration)] = Field(
        timedelta(hours=24), description="Maximum time for which a gate holds a week. Then it is published with flags."
    )

    line_list: Literal["off", "coarse", "full"] = Field(
        "off",
        description="A list of declines beside the report. [Decision 12](decisions/0012-line-list.md) describes what"
        " each kind reveals, and what exact figures reveal anyway.",
    )
    line_list_basis: Annotated[str, AfterValidator(impersonal)] | None = Field(
        None, description="The law that requires a full list of declines. `full` needs it."
    )
    demonstration: bool = Field(False, description="Marks reports as demonstrations.")
    note: Annotated[str, AfterValidator(impersonal)] | None = Field(
        None, description="A sentence shown in every format of a demonstration report."
    )
    contact: Annotated[str, AfterValidator(setting_values.contact), AfterValidator(impersonal)] | None = Field(
        None,
        description="The office that publishes the reports, shown on pages: `mailto:reports@example.org` or an"
        " `https://` address. Not the name of a person.",
    )

    host: str = Field("127.0.0.1", description="The address to listen on.")
    ingest_port: _Port = Field(8081, description="The port of ingest.")
    aggregator_port: _Port = Field(8082, description="The port of the aggregator.")
    publisher_port: _Port = Field(8083, description="The port of the publisher.")
    metrics_port: _Port | None = Field(
        None,
        description="`/livez`, `/readyz` and `/metrics` are served on this port, without TLS, and only there. It needs"
        " a different value for each process on a host.",
    )
    tls_cert_file: Path | None = Field(
        None,
        description="[HTTPS](security.md#tls) on the port of the service, TLS 1.2 or newer: the certificate with its"
        " chain, PEM. Read again when it changes. Without it, plain HTTP.",
    )
    tls_key_file: Path | None = Field(None, description="The key of this certificate, PEM.")
    connections: Annotated[int, Field(ge=16, le=100_000)] = Field(
        1_024,
        description="Maximum number of open connections of a service. Clients that have not sent a valid key may use"
        " at most half of them; at the publisher, this applies to all readers. The service also needs 256 more open"
        " files. It raises its own limit (`ulimit -n`) as far as permitted, and does not start if the limit stays too"
        " low.",
    )
    connections_per_address: Annotated[int, Field(ge=1, le=100_000)] = Field(
        256,
        description="Maximum number of connections from one address that have not sent a valid key yet. All clients of"
        " a proxy have the proxy's address: set it to the number of concurrent requests of the proxy.",
    )
    desk_key: Annotated[SecretStr, AfterValidator(setting_values.hard_to_guess)] | None = Field(
        None,
        description="The password of [the desk](runbooks/desk.md) of the publisher, a page for operators: at least 20"
        " ASCII characters, random. Without it, `/desk` is 404.",
    )

    worker: str = Field(
        "",
        description="An aggregator's name. It must be the same after a restart, and different for each process."
        " Default: host:port.",
    )

    ingest_url: Annotated[str, AfterValidator(setting_values.http_address)] = Field(
        "http://127.0.0.1:8081", description="The address of ingest."
    )
    agency: str | None = Field(None, description="The name of the sending agency.")
    agency_key: SecretStr | None = Field(None, description="Its key.")

    otlp_endpoint: Annotated[str, AfterValidator(setting_values.collector)] | None = Field(
        None,
        description="The address of an OpenTelemetry collector, such as `http://127.0.0.1:4318`. Without it, tracing is"
        " off. Needs [the extra `tracing`](tracing.md).",
    )
    traces_per_second: Annotated[float, Field(gt=0, le=1_000, allow_inf_nan=False)] = Field(
        10.0,
        description="Maximum number of requests and windows of streams that a process traces in a second, whatever"
        " clients ask for: above 0, at most 1,000.",
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="The least severe level.")
    log_format: Literal["console", "json"] = Field(
        "console",
        description="`json`: one object per line, for machines. Lines of a request have its"
        " [`request_id`](client-guide.md#request-ids).",
    )

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
