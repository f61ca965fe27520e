"""Choice and report of the Kafka and PostgreSQL for the tests, and their fixtures."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import TypeAlias, TypeVar

import pytest

from deploy.local import parts, ports
from deploy.local.errors import LocalError
from deploy.local.kafka_jars import QUICK_START
from deploy.local.kafka_native import NativeKafka
from deploy.local.parts import KafkaPart, Part, PostgresPart
from services.runtime import postgres as connecting
from services.runtime.settings import Settings
from tests.support import kafka_log, logging_of_tests, tiers
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


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long`, see `tests.support.tiers`."""
    parser.addoption(tiers.LONG, action="store_true", help="include tests marked `long`, and generate more examples")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The number for `-n auto` and `-n logical`. Called before `pytest_configure`."""
    return tiers.workers(config.option.numprocesses, parts_are_named=bool(_named()))


def _named() -> dict[str, str]:
    if parts.OWN_ENV in os.environ:
        return {}
    return {name: os.environ[name] for name in _NAMING & os.environ.keys()}


def pytest_configure(config: pytest.Config) -> None:
    """Remove the shell's DDOR_ variables, except for those that choose or name the parts."""
    config.pluginmanager.register(tiers)
    config.pluginmanager.register(logging_of_tests)
    NativeKafka.jvm = QUICK_START  # tests start many short-lived nodes
    named = _named()
    for name in [name for name in os.environ if name.startswith("DDOR_") and name not in _CHOOSING]:
        del os.environ[name]
    # Stored separately, so that the code under test does not see them.
    config.stash[_NAMED] = named
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        os.environ[ports.RANGE_ENV] = _ports_of(int(worker.removeprefix("gw")))
    config.addinivalue_line("markers", "real_kafka(reason): left out, by name, on the embedded broker")


def _ports_of(worker: int) -> str:
    """The ports of one pytest-xdist worker. A server that a test has stopped must not lose its port to another test."""
    share = (ports.LAST - ports.FIRST + 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    first = ports.FIRST + worker * share
    return f"{first}-{first + share - 1}"


_NAMED = pytest.StashKey[dict[str, str]]()


def _environ(config: pytest.Config) -> dict[str, str]:
    return dict(os.environ) | config.stash[_NAMED]


@cache
def _kafka_source(config: pytest.Config) -> str:
    """The source of Kafka in this run. Raises LocalError if there is none."""
    chosen = parts.choose_kafka(Path(), real_only=os.environ.get(REAL_ONLY) == "1", environ=_environ(config))
    return chosen.source


def _kafka(config: pytest.Config, directory: Path) -> KafkaPart:
    return parts.build(parts.kafka_providers(_environ(config)), _kafka_source(config), directory)


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
    """Skip tests that the embedded broker cannot pass."""
    marked = [item for item in items if item.get_closest_marker("real_kafka")]
    try:
        if not marked or _kafka_source(config) != "embedded":
            return
    except LocalError:
        return  # the fixtures report what is missing, and only when they are used
    for item in marked:
        marker = item.get_closest_marker("real_kafka")
        assert marker is not None
        item.add_marker(pytest.mark.skip(reason=f"{_EMBEDDED} {marker.args[0]}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The parts again, and with the embedded broker the skipped tests and what to install."""
    terminalreporter.section("parts")
    for line in _said(config):
        terminalreporter.line(line)
    try:
        if _kafka_source(config) != "embedded":
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
    """The Kafka of this run, with topics. Tests share its log; see `settings` for their isolation."""
    with started(_kafka(request.config, tmp_path_factory.mktemp("kafka"))) as part, kafka_log.topics(part):
        yield part


@pytest.fixture(scope="session")
def spare_kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaPart]:
    """Another Kafka, never an external one. Tests use it as `own_kafka`."""
    directory = tmp_path_factory.mktemp("own-kafka")
    if _kafka_source(request.config) == "settings":
        part = _local(lambda: parts.choose_kafka(directory, real_only=True))
    else:
        part = _kafka(request.config, directory)
    with started(part):
        yield part


@pytest.fixture(scope="module")
def own_kafka(spare_kafka: KafkaPart) -> KafkaPart:
    """A Kafka with empty topics that a module may stop, pause or kill, and whose topics it may delete."""
    spare_kafka.resume()
    spare_kafka.start()
    kafka_log.recreate_topics(spare_kafka)
    return spare_kafka


@pytest.fixture(scope="session")
def new_postgres(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewPostgres:
    """`with new_postgres() as part`: another PostgreSQL from the source of this run."""

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
    """A PostgreSQL that a module may stop or kill, never an external one."""
    if postgres.source != "settings":
        with new_postgres() as part:
            yield part
        return
    with started(_local(lambda: parts.choose_postgres(tmp_path_factory.mktemp("own-postgres")))) as part:
        yield part


def _local(choose: Callable[[], _P]) -> _P:
    """A local part besides the external one. Without it, the tests are skipped by name."""
    try:
        return choose()
    except LocalError as error:
        if os.environ.get(REAL_ONLY) == "1":
            raise
        pytest.skip(f"no local part besides the external one, which tests must not stop: {error}")


@pytest.fixture
def empty_database(postgres: PostgresPart) -> Iterator[str]:
    """The DSN of a new database without tables."""
    with new_database(postgres) as dsn:
        yield dsn


@pytest.fixture(scope="session")
async def migrated_template(postgres: PostgresPart) -> AsyncIterator[str]:
    """The name of a template database with the newest schema. Copies are faster than migrations."""
    with new_database(postgres) as dsn:
        await migrated(dsn)
        yield dsn.rpartition("/")[2]


@pytest.fixture
def database(postgres: PostgresPart, migrated_template: str) -> Iterator[str]:
    """The DSN of a new database with the newest schema."""
    with new_database(postgres, migrated_template) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def module_database(postgres: PostgresPart, migrated_template: str) -> Iterator[str]:
    """The DSN of a new database with the newest schema, for all tests of a module."""
    with new_database(postgres, migrated_template) as dsn:
        yield dsn


@pytest.fixture
def agencies_file(tmp_path: Path) -> Path:
    """An agencies file with the agencies of `tests.support.agencies`."""
    return write_agencies(tmp_path / "agencies.toml")


@pytest.fixture
def store_settings(database: str, agencies_file: Path) -> MakeSettings:
    """Settings with the test's own database, without Kafka: `store_settings(worker="one")`."""

    def make(**changes: object) -> Settings:
        return Settings(**{"postgres_dsn": database, "agencies_file": agencies_file, **changes})  # type: ignore[arg-type]

    return make


async def _settings_on(part: KafkaPart, store_settings: MakeSettings) -> MakeSettings:
    def make(**changes: object) -> Settings:
        return store_settings(**{"kafka_bootstrap": part.bootstrap, "kafka_replication": 1, **changes})

    async with kafka_log.connected(make()) as connection:
        await kafka_log.begin_at_the_ends(connection, part.bootstrap)
    return make


@pytest.fixture
async def settings(store_settings: MakeSettings, kafka: KafkaPart) -> MakeSettings:
    """Settings with the test's own database and the Kafka of this run.

    The positions in the database start at the ends of the log, after the records of earlier tests.
    """
    return await _settings_on(kafka, store_settings)


@pytest.fixture
async def fresh_settings(store_settings: MakeSettings, own_kafka: KafkaPart) -> MakeSettings:
    """The same with `own_kafka`. Its log starts empty, so a test may read it from the beginning."""
    return await _settings_on(own_kafka, store_settings)


@pytest.fixture
async def connection(store_settings: MakeSettings) -> AsyncIterator[Connection]:
    """A connection to the test's database."""
    connection = await connecting.connect(store_settings(), "ddor-test")
    try:
        yield connection
    finally:
        connection.terminate()
