"""Apache Kafka of several JVMs, or with several ways in: brokers that go away, clients that are cut off."""

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
async def two_doors(directory: Path, proxy: Proxy) -> AsyncIterator[tuple[NativeKafka, str]]:
    """A Kafka, and the address of its second listener: who comes in there is sent through the proxy for everything."""
    port, behind, controller = free_port(), free_port(), free_port()
    async with carrying(proxy, LOOPBACK, behind) as carried:
        addresses = f"PLAINTEXT://{LOOPBACK}:{port},PROXIED://{LOOPBACK}"
        settings = {
            "listeners": f"{addresses}:{behind},CONTROLLER://{LOOPBACK}:{controller}",
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
    """A node without a broker: it answers no client."""

    def _answers(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.port), 1).close()
        except OSError:
            return False
        return True


class Cluster:
    """Three brokers, and a controller of their own.

    Every partition is on all three brokers; whoever writes with acks=all needs two of them in sync. With one copy each
    it is on one broker, and who takes that away leaves it without a leader.
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
        """The addresses of all brokers, for clients."""
        return ",".join(broker.bootstrap for broker in self.brokers.values())

    async def make_topics(self) -> None:
        """Create the project's topics, and wait until every broker has them."""
        async with kafka_log.admin(self.bootstrap) as client:
            await kafka_log.create_topics(client, [topic.name for topic in TOPICS], self._copies)
        await self.in_sync()

    def start(self) -> None:
        """Start what does not run; all nodes at once, since none answers alone."""
        nodes = (self._controller, *self.brokers.values())
        with ThreadPoolExecutor(len(nodes)) as threads:
            list(threads.map(lambda node: node.start(), nodes))

    def destroy(self) -> None:
        """Kill all nodes and delete their data."""
        for node in (*self.brokers.values(), self._controller):
            node.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    async def leads(self) -> dict[tuple[str, int], int]:
        """The broker that leads each partition of the project's topics; -1: none does."""
        return {place: one["leader"] for place, one in (await self._partitions()).items()}

    async def in_sync(self) -> None:
        """Wait until all copies of every partition are in sync, and one of them leads it."""

        async def so() -> bool:
            found = (await self._partitions()).values()
            all_in_sync = all(len(one["isr"]) == self._copies and one["leader"] in one["isr"] for one in found)
            return len(found) == _ALL and all_in_sync

        await until(so, f"{self._copies} copies in sync of every partition", 120)

    async def away(self, nodes: Iterable[int]) -> None:
        """Kill these brokers, one after another: each is seen to be away before the next one goes."""
        for node in nodes:
            await asyncio.to_thread(self.brokers[node].kill)
            await self._seen_away(node)

    async def stopped(self, node: int) -> None:
        """Stop a broker (SIGSTOP), so that others lead what it led, and it does not know."""
        self.brokers[node].pause()
        await self._seen_away(node)

    async def _seen_away(self, node: int) -> None:
        async def so() -> bool:
            found = (await self._partitions()).values()
            led = [one for one in found if one["leader"] >= 0]  # without a leader, the last one stays on the list
            return all(node != one["leader"] and node not in one["isr"] for one in led)

        if any(broker.running() for broker in self.brokers.values()):
            await until(so, f"broker {node} leads nothing", 120)

    async def _partitions(self) -> dict[tuple[str, int], dict[str, Any]]:
        async def told() -> list[dict[str, Any]]:
            running = [broker.bootstrap for broker in self.brokers.values() if broker.running()]
            try:
                async with kafka_log.admin(",".join(running), request_timeout_ms=2_000) as client:
                    return list(await client.describe_topics([topic.name for topic in TOPICS]))
            except KafkaError:
                return []  # it asks any broker that it has heard of, also one that is away

        described = await until(told, "a broker that tells")
        return {(topic["topic"], one["partition"]): one for topic in described for one in topic["partitions"]}


@asynccontextmanager
async def started(directory: Path, copies: int = len(BROKERS)) -> AsyncIterator[Cluster]:
    """A cluster with the topics, gone afterwards. Skips the test where Kafka's jars cannot be had."""
    if lacking := kafka_jars.missing():
        pytest.skip(" ".join(lacking))
    built = Cluster(directory, copies)
    try:
        await asyncio.to_thread(built.start)
        await built.make_topics()
        yield built
    finally:
        built.destroy()
