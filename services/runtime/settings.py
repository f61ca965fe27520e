"""Settings of all commands, from the environment: prefix `DDOR_`, each secret also as `…_FILE`."""

from __future__ import annotations

import os
import socket
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.week import ReportingCalendar, Weekday
from services.runtime.errors import ConfigurationError

_SECRETS = ("postgres_dsn", "kafka_sasl_password", "agency_key")


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, KeyError, OSError) as error:
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
        raise ValueError("is longer than any time") from error


class Settings(BaseSettings):
    """One value for each `DDOR_` variable. Durations are seconds, or ISO 8601 such as PT24H."""

    model_config = SettingsConfigDict(env_prefix="DDOR_", extra="ignore", frozen=True)

    kafka_bootstrap: str = "127.0.0.1:9092"
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_cafile: Path | None = None
    kafka_replication: Annotated[int, Field(ge=1, le=9)] = 3
    postgres_dsn: SecretStr = SecretStr("postgresql://ddor@127.0.0.1:5432/ddor")
    agencies_file: Path = Path("agencies.toml")
    zone: Annotated[str, AfterValidator(_zone)] = "America/New_York"
    week_starts_on: Annotated[Weekday, BeforeValidator(_weekday)] = Weekday.SATURDAY
    grace: Annotated[timedelta, BeforeValidator(_duration)] = timedelta(hours=24)
    first_week: date | None = None
    restatement_weeks: Annotated[int, Field(ge=0, le=520)] = 8
    hold: Annotated[timedelta, BeforeValidator(_duration)] = timedelta(hours=24)
    line_list: Literal["off", "coarse", "full"] = "off"
    line_list_basis: str | None = Field(default=None, description="The law that asks for a full list of declines.")
    demonstration: bool = False
    note: str | None = Field(default=None, description="Shown in every rendering of a demonstration report.")
    host: str = "127.0.0.1"
    ingest_port: int = 8081
    aggregator_port: int = 8082
    publisher_port: int = 8083
    worker: str = Field(default="", description="Name of this aggregator; default host:port.")
    ingest_url: str = "http://127.0.0.1:8081"
    agency: str | None = None
    agency_key: SecretStr | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"

    @model_validator(mode="before")
    @classmethod
    def _secrets_from_files(cls, values: Any) -> Any:  # pydantic's raw input
        """`DDOR_X_FILE` names a file that holds the secret; a value of its own would be ambiguous."""
        for name in _SECRETS:
            path = os.environ.get(f"DDOR_{name.upper()}_FILE")
            if path is None:
                continue
            if name in values:
                raise ValueError(f"set DDOR_{name.upper()} or DDOR_{name.upper()}_FILE, not both")
            values[name] = Path(path).read_text(encoding="utf-8").strip()
        return values

    @model_validator(mode="after")
    def _full_list_has_a_basis(self) -> Self:
        if self.line_list == "full" and not self.line_list_basis:
            raise ValueError("DDOR_LINE_LIST=full needs DDOR_LINE_LIST_BASIS: the law that asks for it")
        return self

    @property
    def calendar(self) -> ReportingCalendar:
        """The calendar that decides which week an instant belongs to."""
        return ReportingCalendar(ZoneInfo(self.zone), self.week_starts_on)

    @property
    def provisional(self) -> timedelta:
        """How long after its first publication a week is restated by itself."""
        return timedelta(weeks=self.restatement_weeks)

    @property
    def worker_name(self) -> str:
        """Stable across restarts of one process, different for each of several on one host."""
        return self.worker or f"{socket.gethostname()}:{self.aggregator_port}"


def load() -> Settings:
    """Read the environment; ConfigurationError names the variable and the rule, never the value."""
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
        raise ConfigurationError(f"a secret's file cannot be read: {error}") from error
