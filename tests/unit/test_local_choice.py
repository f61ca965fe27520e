"""deploy.local.parts: the best that a machine has, found by looking at PATH."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deploy.local import docker_images, kafka_jars, parts, postgres_install
from deploy.local.errors import PartUnavailableError


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what a test puts there, no settings, and an empty cache."""
    directory = tmp_path / "tools"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setenv("DDOR_CACHE", str(tmp_path / "cache"))
    for name in ("KAFKA_BOOTSTRAP", "POSTGRES_DSN", "LOCAL_KAFKA", "LOCAL_POSTGRES", "LOCAL_STATE"):
        monkeypatch.delenv(f"DDOR_{name}", raising=False)
    return directory


def tool(directory: Path, name: str, script: str) -> None:
    """Put a program on the PATH of `tools`."""
    program = directory / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def java(directory: Path, version: str) -> None:
    tool(directory, "java", f"echo 'openjdk version \"{version}\" 2025-04-15' >&2")


def test_without_docker_and_java_the_embedded_broker_is_what_is_left(tools: Path, tmp_path: Path) -> None:
    assert parts.choose_kafka(tmp_path).kind == "embedded"
    assert not parts.choose_kafka(tmp_path).real
    assert parts.choose_postgres(tmp_path).kind == "native"


def test_it_says_what_to_install(tools: Path) -> None:
    lacking = " ".join(parts.missing())
    assert "Docker" in lacking
    assert "Java 17" in lacking
    assert "Maven" in lacking


def test_with_java_and_maven_it_is_kafka_itself(tools: Path, tmp_path: Path) -> None:
    java(tools, "17.0.15")
    tool(tools, "mvn", "exit 0")
    assert parts.choose_kafka(tmp_path).kind == "native"
    assert parts.choose_kafka(tmp_path).real


def test_maven_is_not_needed_once_the_jars_are_there(tools: Path, tmp_path: Path) -> None:
    java(tools, "21")
    assert parts.choose_kafka(tmp_path).kind == "embedded"
    jars = tmp_path / "cache" / f"kafka-{kafka_jars.KAFKA_VERSION}"
    jars.mkdir(parents=True)
    (jars / "kafka-pom.xml").write_text("of another version")
    assert parts.choose_kafka(tmp_path).kind == "embedded"
    shutil.copy(Path(kafka_jars.__file__).with_name("kafka-pom.xml"), jars)
    assert parts.choose_kafka(tmp_path).kind == "native"


@pytest.mark.parametrize(
    ("version", "major"), [("1.8.0_412", 8), ("11.0.2", 11), ("17", 17), ("26-ea", 26), ("nonsense", None)]
)
def test_java_versions(tools: Path, version: str, major: int | None) -> None:
    java(tools, version)
    assert kafka_jars.java_version() == major


def test_an_old_java_is_named(tools: Path) -> None:
    java(tools, "11.0.2")
    assert any("Java 11 is too old" in sentence for sentence in kafka_jars.missing())


def test_docker_comes_first_if_it_answers_and_has_the_image(tools: Path) -> None:
    tool(tools, "docker", "exit 0")
    assert docker_images.missing("any:1") == []
    assert next(source.kind for source in parts.kafka_sources() if not source.missing()) == "docker"


def test_a_docker_without_a_daemon_is_passed_over(tools: Path, tmp_path: Path) -> None:
    tool(tools, "docker", "exit 1")
    assert "daemon" in docker_images.missing("any:1")[0]
    assert parts.choose_kafka(tmp_path).kind == "embedded"


def test_an_image_that_cannot_be_had_is_passed_over(tools: Path) -> None:
    tool(tools, "docker", '[ "$1" = version ]')
    assert "docker pull any:1" in docker_images.missing("any:1")[0]


def test_a_docker_that_hangs_is_passed_over(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tools, "docker", "while :; do :; done")
    monkeypatch.setattr(docker_images, "_LOCAL_SECONDS", 0.2)
    assert "daemon" in docker_images.missing("any:1")[0]


def test_what_the_settings_name_comes_before_all(tools: Path, tmp_path: Path) -> None:
    environ = {"DDOR_KAFKA_BOOTSTRAP": "kafka.example:9092", "DDOR_POSTGRES_DSN": "postgresql://db.example/x"}
    kafka = parts.choose_kafka(tmp_path, environ=environ)
    assert (kafka.kind, kafka.bootstrap) == ("settings", "kafka.example:9092")
    assert parts.choose_postgres(tmp_path, environ=environ).dsn == "postgresql://db.example/x"
    with pytest.raises(PartUnavailableError, match="only a local part"):
        kafka.kill()


def test_the_stack_of_this_machine_is_not_what_a_user_named(tools: Path, tmp_path: Path) -> None:
    environ = {"DDOR_KAFKA_BOOTSTRAP": "127.0.0.1:1", "DDOR_LOCAL_STATE": "/somewhere/.local"}
    assert parts.choose_kafka(tmp_path, environ=environ).kind == "embedded"


def test_a_forced_kind_that_is_not_there_is_an_error_not_another_kind(tools: Path, tmp_path: Path) -> None:
    with pytest.raises(PartUnavailableError, match="Java is not on PATH"):
        parts.choose_kafka(tmp_path, environ={"DDOR_LOCAL_KAFKA": "native"})
    with pytest.raises(PartUnavailableError, match="there is: settings, docker, native"):
        parts.choose_postgres(tmp_path, environ={"DDOR_LOCAL_POSTGRES": "embedded"})
    named = {"DDOR_LOCAL_KAFKA": "embedded", "DDOR_KAFKA_BOOTSTRAP": "kafka.example:9092"}
    assert parts.choose_kafka(tmp_path, environ=named).kind == "embedded"


def test_only_real_parts_on_demand(tools: Path, tmp_path: Path) -> None:
    with pytest.raises(PartUnavailableError, match="install"):
        parts.choose_kafka(tmp_path, real_only=True)


def test_a_public_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    postgres_install.make_public_directory(ours)
    postgres_install.make_public_directory(ours)
    ours.chmod(0o777)
    with pytest.raises(PartUnavailableError, match="only this user"):
        postgres_install.make_public_directory(ours)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(PartUnavailableError, match="only this user"):
        postgres_install.make_public_directory(tmp_path / "link")
