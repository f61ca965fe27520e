"""Choose the Kafka and the PostgreSQL to run on this machine.

In this order: servers that the settings name, Docker, native processes and, for Kafka only, an embedded broker that is
not Kafka. Choosing looks up programs on PATH; it starts and downloads nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar, get_args

from deploy.local import docker_images, kafka_embedded, kafka_jars, postgres_install
from deploy.local.errors import PartUnavailableError
from deploy.local.external import ExternalKafka, ExternalPostgres
from deploy.local.kafka_embedded import EmbeddedKafka
from deploy.local.kafka_native import NativeKafka
from deploy.local.postgres_native import NativePostgres

PartSource: TypeAlias = Literal["settings", "docker", "native", "embedded"]
"""Where a part comes from: an address in the settings, a container, a native process, or the embedded broker."""
OWN_ENV = "DDOR_LOCAL_STATE"
"""Set by the `env` file that `up` writes. The addresses in such an environment are those of the local stack, so they do
not count as settings: a test started from that shell must not use them."""
BEST_FIRST: tuple[PartSource, ...] = get_args(PartSource)


class Part(Protocol):
    """A server that the services need. Creating the object starts nothing; `start` does."""

    @property
    def name(self) -> str:
        """Its display name, such as `Apache Kafka 4.3.1 (native, Maven jars)`."""

    @property
    def source(self) -> PartSource:
        """Where it comes from."""

    def running(self) -> bool:
        """Whether it runs. A paused part counts as running."""

    def start(self) -> None:
        """Start it unless it runs, and wait until it responds. Raises LocalError."""

    def stop(self) -> None:
        """Shut it down. Its data stay."""

    def kill(self) -> None:
        """SIGKILL, as in a power failure."""

    def pause(self) -> None:
        """Suspend it: connections stay open, requests get no response."""

    def resume(self) -> None:
        """Continue after `pause`."""

    def destroy(self) -> None:
        """`stop`, and delete its data."""


class KafkaPart(Part, Protocol):
    """A Kafka."""

    @property
    def bootstrap(self) -> str:
        """Its `host:port`, available once started."""


class PostgresPart(Part, Protocol):
    """A PostgreSQL."""

    @property
    def dsn(self) -> str:
        """Its DSN with a password, available once started: a superuser's unless the settings name the server."""


_P = TypeVar("_P", bound=Part)


@dataclass(frozen=True)
class PartProvider(Generic[_P]):
    """Creates the parts of one source."""

    source: PartSource
    missing: Callable[[], list[str]]
    """What must be installed first, one sentence each. Empty if the source is available."""
    build: Callable[[Path, int], _P]
    """Creates the part from a directory for its data and a port; port 0 is any free port."""


def choose_kafka(
    directory: Path,
    *,
    port: int = 0,
    source: PartSource | None = None,
    order: Sequence[PartSource] = BEST_FIRST,
    real_only: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> KafkaPart:
    """The first Kafka in `order` that this machine can run, not started. Its data are in `directory`.

    `source`, else DDOR_LOCAL_KAFKA (docker, native or embedded), restricts the choice to one source. `real_only`
    excludes the embedded broker. Raises PartUnavailableError, which names what to install.
    """
    providers = kafka_providers(environ)
    if real_only:
        providers = [one for one in providers if one.source != "embedded"]
    return _choose("Kafka", providers, source or environ.get("DDOR_LOCAL_KAFKA"), order).build(directory, port)


def choose_postgres(
    directory: Path,
    *,
    port: int = 0,
    source: PartSource | None = None,
    order: Sequence[PartSource] = BEST_FIRST,
    environ: Mapping[str, str] = os.environ,
) -> PostgresPart:
    """The same for PostgreSQL. The variable is DDOR_LOCAL_POSTGRES (docker or native)."""
    providers = postgres_providers(environ)
    return _choose("PostgreSQL", providers, source or environ.get("DDOR_LOCAL_POSTGRES"), order).build(directory, port)


def kafka_providers(environ: Mapping[str, str] = os.environ) -> list[PartProvider[KafkaPart]]:
    """A provider for each source of Kafka, best first."""
    named = _named(environ, "DDOR_KAFKA_BOOTSTRAP")
    return [
        PartProvider("settings", _unset("DDOR_KAFKA_BOOTSTRAP", named), lambda _directory, _port: ExternalKafka(named)),
        PartProvider("docker", lambda: docker_images.missing(docker_images.KAFKA_IMAGE), _kafka_container),
        PartProvider("native", kafka_jars.missing, lambda directory, port: NativeKafka(directory, port=port)),
        PartProvider("embedded", kafka_embedded.missing, lambda directory, port: EmbeddedKafka(directory, port=port)),
    ]


def postgres_providers(environ: Mapping[str, str] = os.environ) -> list[PartProvider[PostgresPart]]:
    """A provider for each source of PostgreSQL, best first."""
    named = _named(environ, "DDOR_POSTGRES_DSN")
    return [
        PartProvider("settings", _unset("DDOR_POSTGRES_DSN", named), lambda _directory, _port: ExternalPostgres(named)),
        PartProvider("docker", lambda: docker_images.missing(docker_images.POSTGRES_IMAGE), _postgres_container),
        PartProvider("native", postgres_install.missing, lambda directory, port: NativePostgres(directory, port=port)),
    ]


def missing(environ: Mapping[str, str] = os.environ) -> list[str]:
    """What to install so that this machine can run all parts, one sentence each."""
    providers: list[PartProvider[Any]] = [*kafka_providers(environ), *postgres_providers(environ)]
    sentences = [sentence for one in providers if one.source != "settings" for sentence in one.missing()]
    return list(dict.fromkeys(sentences))


def _choose(
    what: str, providers: list[PartProvider[_P]], forced: str | None, order: Sequence[PartSource]
) -> PartProvider[_P]:
    known = {one.source: one for one in providers}
    if forced and forced not in known:
        raise PartUnavailableError(f"{what} has no source {forced!r}; use one of: {', '.join(known)}")
    reasons: list[str] = []
    for provider in (known[source] for source in ([forced] if forced else order) if source in known):
        sentences = provider.missing()
        if not sentences:
            return provider
        reasons += sentences
    raise PartUnavailableError(f"no {what} available. " + " ".join(reasons))


def build(providers: Sequence[PartProvider[_P]], source: str, directory: Path) -> _P:
    """The part from `source`, whether or not it can start here. Raises PartUnavailableError for an unknown source."""
    for provider in providers:
        if provider.source == source:
            return provider.build(directory, 0)
    raise PartUnavailableError(f"unknown source {source!r}")


def _named(environ: Mapping[str, str], variable: str) -> str:
    return "" if OWN_ENV in environ else environ.get(variable, "")


def _unset(variable: str, value: str) -> Callable[[], list[str]]:
    return lambda: [] if value else [f"{variable} is not set."]


# testcontainers is slow to import, and only the development requirements include it.
def _kafka_container(directory: Path, port: int) -> KafkaPart:
    from deploy.local.containers import KafkaInDocker  # noqa: PLC0415

    return KafkaInDocker(directory, port=port)


def _postgres_container(directory: Path, port: int) -> PostgresPart:
    from deploy.local.containers import PostgresInDocker  # noqa: PLC0415

    return PostgresInDocker(directory, port=port)
