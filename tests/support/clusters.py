"""Kafka clusters of several JVMs or with a proxied listener, for failures of brokers and connections."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from deploy.local import kafka_jars
from deploy.local.kafka_native import NativeKafka, new_cluster
from deploy.local.ports import LOOPBACK, free_port
from schemas.log import Partition
from schemas.topics import TOPICS
from tests.support import kafka_log
from tests.support.proxies import Proxy, carrying
from tests.support.waiting import until

BROKERS = (1, 2, 3)
_CONTROLLER = 9
_ALL = sum(topic.partitions for topic in TOPICS)
_REPLICATED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}


@asynccontextmanager
async def two_listeners(directory: Path, proxy: Proxy) -> AsyncIterator[tuple[NativeKafka, str]]:
    """A Kafka and the address of its second listener, which sends all requests of a client through the proxy."""
    port, direct, controller = free_port(), free_port(), free_port()
    async with carrying(proxy, LOOPBACK, direct) as carried:
        addresses = f"PLAINTEXT://{LOOPBACK}:{port},PROXIED://{LOOPBACK}"
        settings = {
            "listeners": f"{addresses}:{direct},CONTROLLER://{LOOPBACK}:{controller}",
            "advertised.listeners": f"{addresses}:{carried}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT",
            "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
        }
        kafka = NativeKafka(directory, port=port, settings=settings)
        try:
            await asyncio.to_thread(kafka.start)
            yield kafka, f"{LOOPBACK}:{carried}"
        finally:
            kafka.kill()
            kafka.destroy()


class _Controller(NativeKafka):
    """A node without a broker. It serves no clients."""

    def _answers(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.port), 1).close()
        except OSError:
            return False
        return True


class Cluster:
    """Three brokers and a separate controller.

    Each partition has three replicas; a write with acks=all needs two in sync. With replication factor 1,
    stopping a partition's broker leaves it without a leader.
    """

    def __init__(self, directory: Path, copies: int = len(BROKERS)) -> None:
        self._directory = directory
        self._copies = copies
        cluster, controller = new_cluster(), free_port()
        voters = {**_REPLICATED, "controller.quorum.voters": f"{_CONTROLLER}@{LOOPBACK}:{controller}"}
        alone = {
            "process.roles": "controller",
            "node.id": str(_CONTROLLER),
            "listeners": f"CONTROLLER://{LOOPBACK}:{controller}",
            "advertised.listeners": f"CONTROLLER://{LOOPBACK}:{controller}",
        }
        self._controller = _Controller(
            directory / "controller", port=controller, settings=voters | alone, cluster=cluster
        )
        self.brokers: dict[int, NativeKafka] = {}
        for node in BROKERS:
            port = free_port()
            address = f"PLAINTEXT://{LOOPBACK}:{port}"
            own = {"process.roles": "broker", "node.id": str(node), "listeners": address}
            self.brokers[node] = NativeKafka(
                directory / f"broker-{node}", port=port, settings=voters | own, cluster=cluster
            )

    @property
    def bootstrap(self) -> str:
        """The bootstrap addresses of all brokers."""
        return ",".join(broker.bootstrap for broker in self.brokers.values())

    async def make_topics(self) -> None:
        """Create the project's topics, and wait until every broker has them."""
        async with kafka_log.admin(self.bootstrap) as client:
            await kafka_log.create_topics(client, [topic.name for topic in TOPICS], self._copies)
        await self.in_sync()

    def start(self) -> None:
        """Start the nodes that do not run, all at once: a single node does not respond."""
        nodes = (self._controller, *self.brokers.values())
        with ThreadPoolExecutor(len(nodes)) as threads:
            list(threads.map(lambda node: node.start(), nodes))

    def destroy(self) -> None:
        """Kill all nodes and delete their data."""
        for node in (*self.brokers.values(), self._controller):
            node.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    async def leads(self) -> dict[Partition, int]:
        """The leader of each partition of the project's topics; -1 without a leader."""
        return {partition: one["leader"] for partition, one in (await self._partitions()).items()}

    async def in_sync(self) -> None:
        """Wait until all replicas of every partition are in sync and it has a leader."""

        async def all_copies_in_sync() -> bool:
            found = (await self._partitions()).values()
            all_in_sync = all(len(one["isr"]) == self._copies and one["leader"] in one["isr"] for one in found)
            return len(found) == _ALL and all_in_sync

        await until(all_copies_in_sync, f"{self._copies} copies in sync of every partition", 120)

    async def away(self, nodes: Iterable[int]) -> None:
        """Kill these brokers one after another, each after the loss of the previous one is visible."""
        for node in nodes:
            await asyncio.to_thread(self.brokers[node].kill)
            await self._seen_away(node)

    async def stopped(self, node: int) -> None:
        """Suspend a broker (SIGSTOP), so that others take over its partitions without its knowledge."""
        self.brokers[node].pause()
        await self._seen_away(node)

    async def _seen_away(self, node: int) -> None:
        async def not_leading() -> bool:
            found = (await self._partitions()).values()
            led = [one for one in found if one["leader"] >= 0]  # without a leader, the last replica stays in the ISR
            return all(node != one["leader"] and node not in one["isr"] for one in led)

        if any(broker.running() for broker in self.brokers.values()):
            await until(not_leading, f"broker {node} without leaderships", 120)

    async def _partitions(self) -> dict[Partition, dict[str, Any]]:
        async def described_by_a_broker() -> list[dict[str, Any]]:
            running = [broker.bootstrap for broker in self.brokers.values() if broker.running()]
            try:
                async with kafka_log.admin(",".join(running), request_timeout_ms=2_000) as client:
                    return list(await client.describe_topics([topic.name for topic in TOPICS]))
            except KafkaError:
                return []  # the client may have chosen a broker that is down

        described = await until(described_by_a_broker, "a description from a broker")
        return {Partition(topic["topic"], one["partition"]): one for topic in described for one in topic["partitions"]}


@asynccontextmanager
async def started(directory: Path, copies: int = len(BROKERS)) -> AsyncIterator[Cluster]:
    """A cluster with the topics, deleted afterwards. Skips the test if Kafka's jars are not available."""
    if lacking := kafka_jars.missing():
        pytest.skip(" ".join(lacking))
    built = Cluster(directory, copies)
    try:
        await asyncio.to_thread(built.start)
        await built.make_topics()
        yield built
    finally:
        built.destroy()
