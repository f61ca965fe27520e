"""Which Kafka and PostgreSQL the tests use, said before and after; and the fixtures that give them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import TypeAlias, TypeVar

import pytest

from deploy.local import parts
from deploy.local.errors import LocalError
from deploy.local.parts import KafkaPart, Part, PostgresPart
from services.runtime import postgres as connecting
from services.runtime.settings import Settings
from tests.support import kafka_log
from tests.support.agencies import write_agencies
from tests.support.local_parts import migrated, new_database, started
from tests.support.positions import Connection

REAL_ONLY = "DDOR_REAL_ONLY"
_CHOOSING = {"DDOR_LOCAL_KAFKA", "DDOR_LOCAL_POSTGRES", REAL_ONLY, "DDOR_CACHE", "DDOR_FOIA_FILE"}
_NAMING = {"DDOR_KAFKA_BOOTSTRAP", "DDOR_POSTGRES_DSN"}
_EMBEDDED = "the embedded broker"

MakeSettings: TypeAlias = Callable[..., Settings]
_P = TypeVar("_P", bound=Part)
NewPostgres: TypeAlias = Callable[[], AbstractContextManager[PostgresPart]]


def pytest_configure(config: pytest.Config) -> None:
    """Forget the shell's DDOR_ variables, but for those that choose or name the parts."""
    named = {} if parts.OWN_ENV in os.environ else {name: os.environ[name] for name in _NAMING & os.environ.keys()}
    for name in [name for name in os.environ if name.startswith("DDOR_") and name not in _CHOOSING]:
        del os.environ[name]
    # Kept apart: the code under test must not find them by itself.
    config.stash[_NAMED] = named
    config.addinivalue_line("markers", "real_kafka(reason): left out, by name, on the embedded broker")


_NAMED = pytest.StashKey[dict[str, str]]()


def _environ(config: pytest.Config) -> dict[str, str]:
    return dict(os.environ) | config.stash[_NAMED]


@cache
def _kafka_kind(config: pytest.Config) -> str:
    """The kind of Kafka of this run. LocalError says what to install when there is none."""
    chosen = parts.choose_kafka(Path(), real_only=os.environ.get(REAL_ONLY) == "1", environ=_environ(config))
    return chosen.kind


def _kafka(config: pytest.Config, directory: Path) -> KafkaPart:
    return parts.build(parts.kafka_sources(_environ(config)), _kafka_kind(config), directory)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """The parts of this run."""
    return _said(config)


def _said(config: pytest.Config) -> list[str]:
    lines = []
    try:
        lines.append(f"Kafka: {_kafka(config, Path()).name}")
    except LocalError as error:
        lines.append(f"Kafka: {error}")
    try:
        lines.append(f"PostgreSQL: {parts.choose_postgres(Path(), environ=_environ(config)).name}")
    except LocalError as error:
        lines.append(f"PostgreSQL: {error}")
    return lines


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, by name, what the embedded broker cannot do."""
    marked = [item for item in items if item.get_closest_marker("real_kafka")]
    try:
        if not marked or _kafka_kind(config) != "embedded":
            return
    except LocalError:
        return  # the fixtures say what is missing, and only where it is needed
    for item in marked:
        marker = item.get_closest_marker("real_kafka")
        assert marker is not None
        item.add_marker(pytest.mark.skip(reason=f"{_EMBEDDED} {marker.args[0]}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The parts again, and on the embedded broker what that left out and how to have it."""
    terminalreporter.section("parts")
    for line in _said(config):
        terminalreporter.line(line)
    try:
        if _kafka_kind(config) != "embedded":
            return
    except LocalError:
        return
    skipped = terminalreporter.stats.get("skipped", [])
    left_out = [report.nodeid for report in skipped if _EMBEDDED in str(report.longrepr)]
    terminalreporter.line(f"The embedded broker is not Apache Kafka: {len(left_out)} tests were left out.")
    for node in left_out:
        terminalreporter.line(f"  {node}")
    for sentence in parts.missing(_environ(config)):
        terminalreporter.line(f"For all tests: {sentence}")


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaPart]:
    """The run's Kafka, topics made. Its log grows from test to test; see `settings` for how tests stay apart."""
    with started(_kafka(request.config, tmp_path_factory.mktemp("kafka"))) as part, kafka_log.topics(part):
        yield part


@pytest.fixture(scope="module")
def own_kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaPart]:
    """A Kafka that a module may stop, pause, kill, or whose topics it may delete: never one that the settings name."""
    directory = tmp_path_factory.mktemp("own-kafka")
    if _kafka_kind(request.config) == "settings":
        part = _local(lambda: parts.choose_kafka(directory, real_only=True))
    else:
        part = _kafka(request.config, directory)
    with started(part):
        kafka_log.make_topics(part)
        yield part


@pytest.fixture(scope="session")
def new_postgres(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewPostgres:
    """`with new_postgres() as part`: one more PostgreSQL of the kind of this run."""

    def one_more() -> AbstractContextManager[PostgresPart]:
        return started(parts.choose_postgres(tmp_path_factory.mktemp("postgres"), environ=_environ(request.config)))

    return one_more


@pytest.fixture(scope="session")
def postgres(new_postgres: NewPostgres) -> Iterator[PostgresPart]:
    """The run's PostgreSQL."""
    with new_postgres() as part:
        yield part


@pytest.fixture(scope="module")
def own_postgres(
    postgres: PostgresPart, new_postgres: NewPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PostgresPart]:
    """A PostgreSQL that a module may stop or kill: never one that the settings name."""
    if postgres.kind != "settings":
        with new_postgres() as part:
            yield part
        return
    with started(_local(lambda: parts.choose_postgres(tmp_path_factory.mktemp("own-postgres")))) as part:
        yield part


def _local(choose: Callable[[], _P]) -> _P:
    """A part of this machine beside the one that the settings name; without one its tests are skipped by name."""
    try:
        return choose()
    except LocalError as error:
        if os.environ.get(REAL_ONLY) == "1":
            raise
        pytest.skip(f"what the settings name is not ours to stop, and there is no other here: {error}")


@pytest.fixture
def empty_database(postgres: PostgresPart) -> Iterator[str]:
    """The DSN of a new database without tables."""
    with new_database(postgres) as dsn:
        yield dsn


@pytest.fixture
async def database(empty_database: str) -> str:
    """The DSN of a new database with the newest schema."""
    return await migrated(empty_database)


@pytest.fixture(scope="module")
async def module_database(postgres: PostgresPart) -> AsyncIterator[str]:
    """The DSN of a new database with the newest schema, for all tests of a module."""
    with new_database(postgres) as dsn:
        yield await migrated(dsn)


@pytest.fixture
def agencies_file(tmp_path: Path) -> Path:
    """An agencies file with the agencies of `tests.support.agencies`."""
    return write_agencies(tmp_path / "agencies.toml")


@pytest.fixture
def store_settings(database: str, agencies_file: Path) -> MakeSettings:
    """Settings on a database of the test's own, and no Kafka: `store_settings(worker="one")`."""

    def make(**changes: object) -> Settings:
        return Settings(**{"postgres_dsn": database, "agencies_file": agencies_file, **changes})  # type: ignore[arg-type]

    return make


@pytest.fixture
async def settings(store_settings: MakeSettings, kafka: KafkaPart) -> MakeSettings:
    """Settings on a database of the test's own and the run's Kafka.

    The positions in that database stand at the ends of the log: what earlier tests sent is not this test's.
    """

    def make(**changes: object) -> Settings:
        return store_settings(**{"kafka_bootstrap": kafka.bootstrap, "kafka_replication": 1, **changes})

    async with kafka_log.connected(make()) as connection:
        await kafka_log.begin_at_the_ends(connection, kafka.bootstrap)
    return make


@pytest.fixture
async def connection(store_settings: MakeSettings) -> AsyncIterator[Connection]:
    """A connection to the test's database, for looking."""
    connection = await connecting.connect(store_settings(), "ddor-test")
    try:
        yield connection
    finally:
        connection.terminate()
