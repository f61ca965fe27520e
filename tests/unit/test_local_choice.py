"""deploy.local.parts: the best parts for a machine, according to PATH."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deploy.local import docker_images, kafka_jars, maven_jars, parts, postgres_install
from deploy.local.errors import PartUnavailableError


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH that contains only the programs of the test, no settings, and an empty cache."""
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


def test_without_docker_and_java_the_embedded_broker_is_used(tools: Path, tmp_path: Path) -> None:
    assert parts.choose_kafka(tmp_path).source == "embedded"
    assert parts.choose_postgres(tmp_path).source == "native"


def test_the_missing_programs_are_named(tools: Path) -> None:
    lacking = " ".join(parts.missing())
    assert "Docker" in lacking
    assert "Java 17" in lacking
    assert "Maven" in lacking


def test_with_java_and_maven_kafka_is_used(tools: Path, tmp_path: Path) -> None:
    java(tools, "17.0.15")
    tool(tools, "mvn", "exit 0")
    assert parts.choose_kafka(tmp_path).source == "native"


def test_maven_is_not_needed_once_the_jars_are_there(tools: Path, tmp_path: Path) -> None:
    java(tools, "21")
    assert parts.choose_kafka(tmp_path).source == "embedded"
    jars = tmp_path / "cache" / f"kafka-{kafka_jars.KAFKA_VERSION}"
    jars.mkdir(parents=True)
    (jars / "kafka-pom.xml").write_text("of another version")
    assert parts.choose_kafka(tmp_path).source == "embedded"
    shutil.copy(Path(kafka_jars.__file__).with_name("kafka-pom.xml"), jars)
    assert parts.choose_kafka(tmp_path).source == "native"


@pytest.mark.parametrize(
    ("version", "major"), [("1.8.0_412", 8), ("11.0.2", 11), ("17", 17), ("26-ea", 26), ("nonsense", None)]
)
def test_java_versions(tools: Path, version: str, major: int | None) -> None:
    java(tools, version)
    assert maven_jars.java_version() == major


def test_an_old_java_is_named(tools: Path) -> None:
    java(tools, "11.0.2")
    assert any("Java 11 is too old" in sentence for sentence in kafka_jars.missing())


def test_docker_is_preferred_if_it_responds_and_has_the_image(tools: Path) -> None:
    tool(tools, "docker", "exit 0")
    assert docker_images.missing("any:1") == []
    assert next(one.source for one in parts.kafka_providers() if not one.missing()) == "docker"


def test_docker_without_a_daemon_is_skipped(tools: Path, tmp_path: Path) -> None:
    tool(tools, "docker", "exit 1")
    assert "daemon" in docker_images.missing("any:1")[0]
    assert parts.choose_kafka(tmp_path).source == "embedded"


def test_docker_without_the_image_is_skipped(tools: Path) -> None:
    tool(tools, "docker", '[ "$1" = version ]')
    assert "docker pull any:1" in docker_images.missing("any:1")[0]


def test_a_hanging_docker_is_skipped(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tools, "docker", "while :; do :; done")
    monkeypatch.setattr(docker_images, "_LOCAL_SECONDS", 0.2)
    assert "daemon" in docker_images.missing("any:1")[0]


def test_the_server_in_the_settings_is_preferred(tools: Path, tmp_path: Path) -> None:
    environ = {"DDOR_KAFKA_BOOTSTRAP": "kafka.example:9092", "DDOR_POSTGRES_DSN": "postgresql://db.example/x"}
    kafka = parts.choose_kafka(tmp_path, environ=environ)
    assert (kafka.source, kafka.bootstrap) == ("settings", "kafka.example:9092")
    assert parts.choose_postgres(tmp_path, environ=environ).dsn == "postgresql://db.example/x"
    with pytest.raises(PartUnavailableError, match="only a local part"):
        kafka.kill()


def test_the_local_stacks_own_settings_are_not_the_users(tools: Path, tmp_path: Path) -> None:
    environ = {"DDOR_KAFKA_BOOTSTRAP": "127.0.0.1:1", "DDOR_LOCAL_STATE": "/somewhere/.local"}
    assert parts.choose_kafka(tmp_path, environ=environ).source == "embedded"


def test_a_forced_source_that_is_not_available_is_an_error(tools: Path, tmp_path: Path) -> None:
    with pytest.raises(PartUnavailableError, match="Java is not on PATH"):
        parts.choose_kafka(tmp_path, environ={"DDOR_LOCAL_KAFKA": "native"})
    with pytest.raises(PartUnavailableError, match="use one of: settings, docker, native"):
        parts.choose_postgres(tmp_path, environ={"DDOR_LOCAL_POSTGRES": "embedded"})
    named = {"DDOR_LOCAL_KAFKA": "embedded", "DDOR_KAFKA_BOOTSTRAP": "kafka.example:9092"}
    assert parts.choose_kafka(tmp_path, environ=named).source == "embedded"


def test_real_only_excludes_the_embedded_broker(tools: Path, tmp_path: Path) -> None:
    with pytest.raises(PartUnavailableError, match="install"):
        parts.choose_kafka(tmp_path, real_only=True)


def test_a_public_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "own"
    postgres_install.make_public_directory(own)
    postgres_install.make_public_directory(own)
    own.chmod(0o777)
    with pytest.raises(PartUnavailableError, match="only this user"):
        postgres_install.make_public_directory(own)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(PartUnavailableError, match="only this user"):
        postgres_install.make_public_directory(tmp_path / "link")
