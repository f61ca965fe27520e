"""services.runtime.settings: the environment is read once, and errors do not quote values."""

from __future__ import annotations

import os
from datetime import date, timedelta
from pathlib import Path

import pytest

from schemas.week import Weekday
from services.publisher import app as publisher
from services.runtime import settings
from services.runtime.errors import ConfigurationError
from tests.unit.sample_settings import refused

SECRETS = ["POSTGRES_DSN", "KAFKA_SASL_PASSWORD", "AGENCY_KEY", "DESK_KEY"]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DDOR_")]:
        monkeypatch.delenv(name)


def secret(loaded: settings.Settings, name: str) -> str:
    value: str = getattr(loaded, name.lower()).get_secret_value()
    return value


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


@pytest.mark.parametrize(
    "url",
    ["mailto:reports@example.org", "https://example.org", "https://example.org:8443/contact?about=reports#form"],
)
def test_a_contact_is_a_mail_address_or_a_page(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DDOR_CONTACT", url)
    assert settings.load().contact == url


@pytest.mark.parametrize(
    "url",
    [
        *("", "reports@example.org", "mailto:", "mailto:a@b", "mailto:a@example.org?bcc=b@example.org"),
        *("mailto:a@example.org,b@example.org", "http://example.org", "javascript:alert(1)", "https://"),
        *(
            "https://user:secret@example.org",
            "https://example.org/a b",
            "https://example.org/\n",
            "https://[",
            "//x.org",
        ),
        *("https://example.org:port", "HTTPS://example.org/\u00e9", f"https://example.org/{'x' * 300}"),
        "https://example.org/A12345678",
    ],
)
def test_another_contact_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DDOR_CONTACT", url)
    assert refused().startswith("DDOR_CONTACT: ")


def test_a_first_week_outside_the_calendar_is_refused_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DDOR_FIRST_WEEK", "2017-01-29")
    with pytest.raises(ConfigurationError, match=r"DDOR_FIRST_WEEK: .* the week that contains it is 2017-01-28"):
        publisher.create(settings.load())


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_can_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    path = tmp_path / "secret"
    path.write_text("from-a-file, of a secret\n")
    monkeypatch.setenv(f"DDOR_{name}_FILE", str(path))
    assert secret(settings.load(), name) == "from-a-file, of a secret"


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_and_its_file_exclude_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    path = tmp_path / "secret"
    path.write_text("planted")
    monkeypatch.setenv(f"DDOR_{name}_FILE", str(path))
    monkeypatch.setenv(f"DDOR_{name}", "planted")
    message = refused()
    assert f"set DDOR_{name} or DDOR_{name}_FILE, not both" in message
    assert "planted" not in message


@pytest.mark.parametrize("name", SECRETS)
def test_a_missing_secrets_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
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
        "OTLP_ENDPOINT",
        "TRACES_PER_SECOND",
    ],
)
def test_a_wrong_value_is_named_by_its_variable_and_never_quoted(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"DDOR_{name}", "planted")
    message = refused()
    assert f"DDOR_{name}:" in message
    assert "DDOR_DDOR" not in message
    assert "planted" not in message


@pytest.mark.parametrize("name", ["GRACE", "HOLD"])
@pytest.mark.parametrize("seconds", ["9" * 20, "9" * 5_000])
def test_a_duration_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, seconds: str) -> None:
    monkeypatch.setenv(f"DDOR_{name}", seconds)
    assert f"DDOR_{name}: " in refused()


@pytest.mark.parametrize("first", ["2017-01-29", "9999-12-25", "0001-01-01"])
def test_an_invalid_first_week_ends_the_publisher_with_a_sentence(monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    monkeypatch.setenv("DDOR_FIRST_WEEK", first)
    with pytest.raises(ConfigurationError, match=f"DDOR_FIRST_WEEK: {first}"):
        publisher.create(settings.load())


@pytest.mark.parametrize("first", ["0001-01-06", "1999-12-18"])
def test_a_first_week_without_any_fact_ends_the_publisher_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """It would close a thousand empty weeks."""
    monkeypatch.setenv("DDOR_FIRST_WEEK", first)
    with pytest.raises(ConfigurationError, match="DDOR_FIRST_WEEK: must not be before 1999-12-25"):
        publisher.create(settings.load())


def test_all_wrong_values_are_listed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDOR_ZONE", "Nowhere")
    monkeypatch.setenv("DDOR_INGEST_PORT", "x")
    message = refused()
    assert "DDOR_ZONE" in message
    assert "DDOR_INGEST_PORT" in message


@pytest.mark.parametrize("name", SECRETS)
def test_settings_never_print_a_secret(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"DDOR_{name}", "planted, and long enough")
    assert "planted" not in f"{settings.load()!r} {settings.load()} {settings.load().model_dump()}"


@pytest.mark.parametrize(
    "key", ["", "planted-Pa55word", "planted" * 2, "ab" * 20, "planted-and-long-enough-é", "planted-\t-long-enough"]
)
def test_a_desk_key_that_can_be_guessed_or_not_be_typed_is_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("DDOR_DESK_KEY", key)
    message = refused()
    assert "DDOR_DESK_KEY: Value error, must have at least 20 ASCII characters, 8 of them different" in message
    assert "planted" not in message


def test_a_worker_has_a_stable_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDOR_AGGREGATOR_PORT", "9001")
    assert settings.load().worker_name.endswith(":9001")
    monkeypatch.setenv("DDOR_WORKER", "first")
    assert settings.load().worker_name == "first"


@pytest.mark.parametrize("name", ["INGEST_PORT", "AGGREGATOR_PORT", "PUBLISHER_PORT"])
@pytest.mark.parametrize("port", ["99999", "65536", "0", "-1"])
def test_a_port_that_no_server_can_have_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, port: str) -> None:
    monkeypatch.setenv(f"DDOR_{name}", port)
    assert f"DDOR_{name}: " in refused()


@pytest.mark.parametrize(
    "brokers", ["", "planted", "kafka:99999", "kafka:0", "kafka:x", "kafka:", ":9092", "one:1,", "one:1,,two:2"]
)
def test_brokers_without_host_and_port_are_refused(monkeypatch: pytest.MonkeyPatch, brokers: str) -> None:
    monkeypatch.setenv("DDOR_KAFKA_BOOTSTRAP", brokers)
    message = refused()
    assert "DDOR_KAFKA_BOOTSTRAP: " in message
    assert "must be HOST:PORT, or several separated by commas, with ports from 1 to 65535" in message


def test_several_brokers_may_have_spaces_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDOR_KAFKA_BOOTSTRAP", "one:1, [::1]:2")
    assert settings.load().kafka_bootstrap == "one:1,[::1]:2"


@pytest.mark.parametrize(
    "address", ["", "planted", "127.0.0.1:8081", "ftp://host", "http://", "http://host:99999", "http://host:x"]
)
def test_an_invalid_address_of_ingest_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("DDOR_INGEST_URL", address)
    assert "DDOR_INGEST_URL: Value error, must be a URL such as http://127.0.0.1:8081" in refused()


@pytest.mark.parametrize(
    "address", ["", "host:4318", "grpc://host", "http://host:x", "http://ada:planted@host:4318", "http://host?planted"]
)
def test_an_invalid_address_of_the_collector_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("DDOR_OTLP_ENDPOINT", address)
    message = refused()
    assert "DDOR_OTLP_ENDPOINT: Value error, must be a URL such as http://127.0.0.1:4318" in message
    assert "planted" not in message


@pytest.mark.parametrize("rate", ["0", "-1", "1001", "nan", "inf"])
def test_an_invalid_rate_of_traces_is_refused(monkeypatch: pytest.MonkeyPatch, rate: str) -> None:
    monkeypatch.setenv("DDOR_TRACES_PER_SECOND", rate)
    assert "DDOR_TRACES_PER_SECOND: " in refused()


@pytest.mark.parametrize("given", [{}, {"USERNAME": "ada"}, {"PASSWORD": "planted"}])
def test_a_login_to_kafka_has_a_user_and_a_password(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> None:
    monkeypatch.setenv("DDOR_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    for name, value in given.items():
        monkeypatch.setenv(f"DDOR_KAFKA_SASL_{name}", value)
    assert "needs DDOR_KAFKA_SASL_USERNAME and DDOR_KAFKA_SASL_PASSWORD" in refused()
