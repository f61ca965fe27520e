"""Kafka and PostgreSQL in Docker, through testcontainers."""

from __future__ import annotations

import secrets

from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer

from deploy.local.container_part import ContainerPart
from deploy.local.docker_images import KAFKA_IMAGE, POSTGRES_IMAGE
from deploy.local.kafka_settings import SINGLE_NODE
from deploy.local.ports import LOOPBACK
from deploy.local.private_files import write_private
from deploy.local.probes import kafka_answers, postgres_answers


class KafkaContainer(DockerContainer):
    """The image `apache/kafka`, which the library's own KafkaContainer cannot configure.

    The port on this machine is chosen before the container exists, so that the broker can advertise it and keeps it
    after a restart.
    """

    def __init__(self, host_port: int, name: str) -> None:
        super().__init__(KAFKA_IMAGE, name=name)
        # The broker sends transaction markers to itself. The port that external clients use does not exist inside
        # the container, so the broker needs another listener.
        listeners = {
            "listeners": "PLAINTEXT://:9092,BROKER://:9094,CONTROLLER://:9093",
            "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{host_port},BROKER://localhost:9094",
            "inter.broker.listener.name": "BROKER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "controller.quorum.voters": "1@localhost:9093",
        }
        for key, value in (SINGLE_NODE | listeners).items():
            self.with_env("KAFKA_" + key.upper().replace(".", "_"), value)
        self.with_env("KAFKA_HEAP_OPTS", "-Xms256m -Xmx512m")
        publish(self, 9092, host_port)


def publish(container: DockerContainer, port: int, host_port: int) -> None:
    """Publish the container's `port` as `host_port` of this machine's loopback address."""
    # The Docker API also accepts an address; the library's annotation does not.
    container.ports[f"{port}/tcp"] = (LOOPBACK, host_port)  # type: ignore[assignment]


class KafkaInDocker(ContainerPart):
    """Apache Kafka in a container."""

    name = f"Apache Kafka ({KAFKA_IMAGE} in Docker)"
    image = KAFKA_IMAGE

    @property
    def bootstrap(self) -> str:
        """`host:port`, for clients."""
        return f"{LOOPBACK}:{self.port}"

    def _build(self, port: int) -> DockerContainer:
        return KafkaContainer(port, self._container_name)

    def _answers(self) -> bool:
        return kafka_answers(self.bootstrap)


class PostgresInDocker(ContainerPart):
    """PostgreSQL in a container, with a random password."""

    name = f"PostgreSQL ({POSTGRES_IMAGE} in Docker)"
    image = POSTGRES_IMAGE

    @property
    def dsn(self) -> str:
        """The superuser's DSN for the database `postgres`."""
        password = (self.directory / "password").read_text()
        return f"postgresql://ddor:{password}@{LOOPBACK}:{self.port}/postgres"

    def _build(self, port: int) -> DockerContainer:
        password = secrets.token_urlsafe(24)
        write_private(self.directory / "password", password)
        container = PostgresContainer(
            POSTGRES_IMAGE, username="ddor", password=password, dbname="postgres", driver=None,
            name=self._container_name,
        )  # fmt: skip
        container.ports.clear()
        publish(container, 5432, port)
        return container

    def _answers(self) -> bool:
        return postgres_answers(self.dsn)
