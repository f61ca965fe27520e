"""Which Kafka and which PostgreSQL: the best that this machine has.

In this order: what the settings name; Docker; native; and for Kafka, where nothing else is there, an embedded
broker that is not Kafka. Programs are looked up on PATH, and nothing is started or downloaded by choosing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar, get_args

from deploy.local import docker_images, kafka_embedded, kafka_jars, postgres_install
from deploy.local.errors import PartUnavailableError
from deploy.local.kafka_embedded import EmbeddedKafka
from deploy.local.kafka_native import NativeKafka
from deploy.local.named import NamedKafka, NamedPostgres
from deploy.local.postgres_native import NativePostgres

Kind: TypeAlias = Literal["settings", "docker", "native", "embedded"]
OWN_ENV = "DDOR_LOCAL_STATE"
"""Set by the `env` file that `up` writes. The servers that such an environment names are those of the stack
that `up` brought up: no test gets them because it was called from a shell that has read the file."""
BEST_FIRST: tuple[Kind, ...] = get_args(Kind)


class Part(Protocol):
    """A server that the services need. It can be built at no cost; `start` is what takes time."""

    @property
    def name(self) -> str:
        """What it is, for people: `Apache Kafka 4.3.1 (native, Maven jars)`."""

    @property
    def kind(self) -> Kind:
        """Where it comes from."""

    @property
    def real(self) -> bool:
        """Whether it is the product itself. What only a stand-in passes has not been shown."""

    def running(self) -> bool:
        """Whether it runs; paused counts."""

    def start(self) -> None:
        """Start it (nothing if it runs) and return when it answers. Raises LocalError."""

    def stop(self) -> None:
        """End it in an orderly way; its data stay."""

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL."""

    def restart(self) -> None:
        """`stop`, then `start` on the same data and port."""

    def pause(self) -> None:
        """Freeze it: connections stay, nothing is answered."""

    def resume(self) -> None:
        """Let it go on after `pause`."""

    def destroy(self) -> None:
        """`stop`, and delete its data."""


class KafkaPart(Part, Protocol):
    """A Kafka."""

    @property
    def bootstrap(self) -> str:
        """`host:port` of it, once started."""


class PostgresPart(Part, Protocol):
    """A PostgreSQL."""

    @property
    def dsn(self) -> str:
        """A DSN with a password, once started: a superuser's unless the settings name the server."""


_P = TypeVar("_P", bound=Part)


@dataclass(frozen=True)
class Source(Generic[_P]):
    """One place that a part can come from."""

    kind: Kind
    missing: Callable[[], list[str]]
    """What has to be installed first, one sentence each; empty: available."""
    build: Callable[[Path, int], _P]
    """The part, given a directory for its data and a port (0: any free one)."""


def choose_kafka(
    directory: Path,
    *,
    port: int = 0,
    kind: Kind | None = None,
    order: Sequence[Kind] = BEST_FIRST,
    real_only: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> KafkaPart:
    """The first Kafka of `order` that this machine can run, its data below `directory`; not started.

    `kind`, else DDOR_LOCAL_KAFKA (docker, native or embedded), allows one only. `real_only` refuses the
    embedded broker. Raises PartUnavailableError, saying what to install.
    """
    sources = kafka_sources(environ)
    if real_only:
        sources = [source for source in sources if source.kind != "embedded"]
    return _choose("Kafka", sources, kind or environ.get("DDOR_LOCAL_KAFKA"), order).build(directory, port)


def choose_postgres(
    directory: Path,
    *,
    port: int = 0,
    kind: Kind | None = None,
    order: Sequence[Kind] = BEST_FIRST,
    environ: Mapping[str, str] = os.environ,
) -> PostgresPart:
    """The same for PostgreSQL; the variable is DDOR_LOCAL_POSTGRES (docker or native)."""
    sources = postgres_sources(environ)
    return _choose("PostgreSQL", sources, kind or environ.get("DDOR_LOCAL_POSTGRES"), order).build(directory, port)


def kafka_sources(environ: Mapping[str, str] = os.environ) -> list[Source[KafkaPart]]:
    """All places that a Kafka can come from, best first."""
    named = _named(environ, "DDOR_KAFKA_BOOTSTRAP")
    return [
        Source("settings", _unset("DDOR_KAFKA_BOOTSTRAP", named), lambda _directory, _port: NamedKafka(named)),
        Source("docker", lambda: docker_images.missing(docker_images.KAFKA_IMAGE), _kafka_container),
        Source("native", kafka_jars.missing, lambda directory, port: NativeKafka(directory, port=port)),
        Source("embedded", kafka_embedded.missing, lambda directory, port: EmbeddedKafka(directory, port=port)),
    ]


def postgres_sources(environ: Mapping[str, str] = os.environ) -> list[Source[PostgresPart]]:
    """All places that a PostgreSQL can come from, best first."""
    named = _named(environ, "DDOR_POSTGRES_DSN")
    return [
        Source("settings", _unset("DDOR_POSTGRES_DSN", named), lambda _directory, _port: NamedPostgres(named)),
        Source("docker", lambda: docker_images.missing(docker_images.POSTGRES_IMAGE), _postgres_container),
        Source("native", postgres_install.missing, lambda directory, port: NativePostgres(directory, port=port)),
    ]


def missing(environ: Mapping[str, str] = os.environ) -> list[str]:
    """What this machine lacks for the parts that it cannot run, in sentences that say what to install."""
    local = [source for source in kafka_sources(environ) if source.kind != "settings"]
    sentences = [sentence for source in local for sentence in source.missing()]
    for other in postgres_sources(environ):
        if other.kind != "settings":
            sentences += other.missing()
    return list(dict.fromkeys(sentences))


def _choose(what: str, sources: list[Source[_P]], forced: str | None, order: Sequence[Kind]) -> Source[_P]:
    known = {source.kind: source for source in sources}
    if forced and forced not in known:
        raise PartUnavailableError(f"{what} does not come from {forced!r}; there is: {', '.join(known)}")
    reasons: list[str] = []
    for source in known.values() if forced else (known[kind] for kind in order if kind in known):
        if forced and source.kind != forced:
            continue
        sentences = source.missing()
        if not sentences:
            return source
        reasons += sentences
    raise PartUnavailableError(f"no {what} here. " + " ".join(reasons))


def build(sources: Sequence[Source[_P]], kind: str, directory: Path) -> _P:
    """The part of `kind`, whether it can be started here or not. Raises PartUnavailableError if unknown."""
    for source in sources:
        if source.kind == kind:
            return source.build(directory, 0)
    raise PartUnavailableError(f"there is no part of kind {kind!r}")


def _named(environ: Mapping[str, str], variable: str) -> str:
    return "" if OWN_ENV in environ else environ.get(variable, "")


def _unset(variable: str, value: str) -> Callable[[], list[str]]:
    return lambda: [] if value else [f"{variable} is not set."]


# testcontainers is heavy to import, and is not there unless the requirements for development are.
def _kafka_container(directory: Path, port: int) -> KafkaPart:
    from deploy.local.containers import KafkaInDocker  # noqa: PLC0415

    return KafkaInDocker(directory, port=port)


def _postgres_container(directory: Path, port: int) -> PostgresPart:
    from deploy.local.containers import PostgresInDocker  # noqa: PLC0415

    return PostgresInDocker(directory, port=port)
