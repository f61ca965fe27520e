"""services.runtime.settings: the environment is read once, and a mistake is told without the value."""

from __future__ import annotations

import os
from datetime import date, timedelta
from pathlib import Path

import pytest

from schemas.week import Weekday
from services.publisher import app as publisher
from services.runtime import settings
from services.runtime.errors import ConfigurationError

SECRETS = ["POSTGRES_DSN", "KAFKA_SASL_PASSWORD", "AGENCY_KEY"]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DDOR_")]:
        monkeypatch.delenv(name)


def secret(loaded: settings.Settings, name: str) -> str:
    value: str = getattr(loaded, name.lower()).get_secret_value()
    return value


def refused() -> str:
    with pytest.raises(ConfigurationError) as caught:
        settings.load()
    assert caught.value.__cause__ is None or "planted" not in str(caught.value.__cause__)
    return str(caught.value)


def test_the_defaults_are_those_of_the_documents() -> None:
    loaded = settings.load()
    assert loaded.kafka_bootstrap == "127.0.0.1:9092"
    assert loaded.kafka_replication == 3
    assert (loaded.host, loaded.ingest_port, loaded.aggregator_port, loaded.publisher_port) == (
        "127.0.0.1",
        8081,
        8082,
        8083,
    )
    assert (loaded.zone, loaded.calendar.starts_on, loaded.grace) == (
        "America/New_York",
        Weekday.SATURDAY,
        timedelta(hours=24),
    )
    assert loaded.first_week is None


@pytest.mark.parametrize(
    ("text", "grace"), [("3600", timedelta(hours=1)), ("PT36H", timedelta(hours=36)), ("0", timedelta())]
)
def test_a_duration_is_seconds_or_iso_8601(monkeypatch: pytest.MonkeyPatch, text: str, grace: timedelta) -> None:
    monkeypatch.setenv("DDOR_GRACE", text)
    assert settings.load().grace == grace


@pytest.mark.parametrize("text", ["monday", "MONDAY", "Monday"])
def test_the_first_weekday_is_given_by_name(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("DDOR_WEEK_STARTS_ON", text)
    monkeypatch.setenv("DDOR_ZONE", "Europe/Berlin")
    monkeypatch.setenv("DDOR_FIRST_WEEK", "2017-01-30")
    loaded = settings.load()
    assert loaded.first_week == date(2017, 1, 30)
    assert str(loaded.calendar.week(loaded.first_week)) == "2017-01-30"


def test_a_publisher_whose_first_week_is_none_of_its_calendar_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DDOR_FIRST_WEEK", "2017-01-29")
    with pytest.raises(ConfigurationError, match=r"DDOR_FIRST_WEEK: .* the week that contains it is 2017-01-28"):
        publisher.create(settings.load())


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_can_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    path = tmp_path / "secret"
    path.write_text("from-a-file\n")
    monkeypatch.setenv(f"DDOR_{name}_FILE", str(path))
    assert secret(settings.load(), name) == "from-a-file"


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_and_its_file_are_one_too_many(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    path = tmp_path / "secret"
    path.write_text("planted")
    monkeypatch.setenv(f"DDOR_{name}_FILE", str(path))
    monkeypatch.setenv(f"DDOR_{name}", "planted")
    message = refused()
    assert f"set DDOR_{name} or DDOR_{name}_FILE, not both" in message
    assert "planted" not in message


@pytest.mark.parametrize("name", SECRETS)
def test_a_secrets_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setenv(f"DDOR_{name}_FILE", str(tmp_path / "missing"))
    assert "missing" in refused()


@pytest.mark.parametrize(
    "name",
    [
        "KAFKA_SECURITY_PROTOCOL",
        "KAFKA_SASL_MECHANISM",
        "KAFKA_REPLICATION",
        "ZONE",
        "WEEK_STARTS_ON",
        "GRACE",
        "FIRST_WEEK",
        "INGEST_PORT",
        "LOG_LEVEL",
        "LOG_FORMAT",
    ],
)
def test_a_wrong_value_is_told_by_its_variable_and_never_quoted(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"DDOR_{name}", "planted")
    message = refused()
    assert f"DDOR_{name}:" in message
    assert "DDOR_DDOR" not in message
    assert "planted" not in message


@pytest.mark.parametrize("name", ["GRACE", "HOLD"])
@pytest.mark.parametrize("seconds", ["9" * 20, "9" * 5_000])
def test_a_duration_beyond_all_time_is_a_wrong_value(monkeypatch: pytest.MonkeyPatch, name: str, seconds: str) -> None:
    monkeypatch.setenv(f"DDOR_{name}", seconds)
    assert f"DDOR_{name}: " in refused()


@pytest.mark.parametrize("first", ["2017-01-29", "9999-12-25", "0001-01-01"])
def test_a_first_week_that_is_none_ends_the_publisher_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.setenv("DDOR_FIRST_WEEK", first)
    with pytest.raises(ConfigurationError, match=f"DDOR_FIRST_WEEK: {first}"):
        publisher.create(settings.load())


def test_all_wrong_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDOR_ZONE", "Nowhere")
    monkeypatch.setenv("DDOR_INGEST_PORT", "x")
    message = refused()
    assert "DDOR_ZONE" in message
    assert "DDOR_INGEST_PORT" in message


@pytest.mark.parametrize("name", SECRETS)
def test_settings_never_print_a_secret(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"DDOR_{name}", "planted")
    assert "planted" not in f"{settings.load()!r} {settings.load()} {settings.load().model_dump()}"


def test_a_worker_has_a_name_of_its_own_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDOR_AGGREGATOR_PORT", "9001")
    assert settings.load().worker_name.endswith(":9001")
    monkeypatch.setenv("DDOR_WORKER", "first")
    assert settings.load().worker_name == "first"
