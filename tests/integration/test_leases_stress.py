"""Several aggregator processes: stopped, duplicated, restarted in turn, cut off. The sums stay exact."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest

from deploy.local import kafka_jars
from deploy.local.parts import KafkaPart
from deploy.local.ports import free_port
from deploy.local.service import Service
from services.aggregator.leases import EXPIRY
from services.aggregator.worker import PARTITIONS
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import kafka_log, processes
from tests.support.clusters import two_listeners
from tests.support.positions import Connection, owners
from tests.support.proxies import Line, in_front
from tests.support.streaming import streaming
from tests.support.waiting import until

LONGER = EXPIRY.total_seconds() * 1.7
Start: TypeAlias = Callable[..., Service]


@pytest.fixture
def chosen(settings: MakeSettings) -> Settings:
    return settings()


@pytest.fixture
def start(chosen: Settings, tmp_path: Path) -> Iterator[Start]:
    """`start("one")`: start an aggregator process with that name, without waiting for it."""
    with ExitStack() as stack:

        def one(name: str, process: str | None = None, **changes: str) -> Service:
            variables = {
                "DDOR_KAFKA_BOOTSTRAP": chosen.kafka_bootstrap,
                "DDOR_POSTGRES_DSN": chosen.postgres_dsn.get_secret_value(),
                "DDOR_WORKER": name,
            }
            service = processes.service("aggregator", tmp_path, variables | changes, process or name)
            stack.callback(service.kill)
            service.spawn()
            return service

        yield one


async def _share(connection: Connection, *names: str) -> None:
    """Wait until these workers have all partitions in fair shares; the first may have one more."""
    share, larger = divmod(len(PARTITIONS), len(names))
    shares = {name: share + (number < larger) for number, name in enumerate(sorted(names))}

    async def shared() -> bool:
        return Counter((await owners(connection)).values()) == shares

    await until(shared, f"shares {shares}")


async def test_a_worker_stopped_for_longer_than_its_lease_writes_nothing(
    start: Start, connection: Connection, kafka: KafkaPart
) -> None:
    one, _, _ = start("one"), start("two"), start("three")
    await _share(connection, "one", "two", "three")
    async with streaming(connection, kafka.bootstrap) as stream:
        for _ in range(2):
            await stream.more(connection)
            one.pause()
            await _share(connection, "two", "three")
            await stream.more(connection)
            one.resume()
            await _share(connection, "one", "two", "three")
            await stream.more(connection)
    await stream.check(connection)


@pytest.mark.long("the same lease, taken from a stopped worker")
async def test_a_successor_of_the_same_name_takes_over_from_a_stopped_worker(
    start: Start, connection: Connection, kafka: KafkaPart
) -> None:
    old = start("one")
    await _share(connection, "one")
    async with streaming(connection, kafka.bootstrap) as stream:
        await stream.more(connection)
        epochs = await _epochs(connection)
        old.pause()
        successor = start("one", process="successor")
        await asyncio.to_thread(successor.wait_ready)
        await stream.more(connection)
        assert all(after > before for before, after in zip(epochs, await _epochs(connection), strict=True))
        old.resume()
        await asyncio.sleep(LONGER)
        assert not old.ready(), "its name belongs to the successor"
        assert successor.ready()
        await stream.more(connection)
    await stream.check(connection)


async def test_a_successor_of_a_killed_worker_does_not_wait_for_expiry(
    start: Start, connection: Connection, kafka: KafkaPart
) -> None:
    one, _ = start("one"), start("two")
    await _share(connection, "one", "two")
    async with streaming(connection, kafka.bootstrap) as stream:
        for _ in range(3):
            await stream.more(connection)
            await asyncio.to_thread(one.kill)
            one.spawn()
            await _share(connection, "one", "two")
            await asyncio.to_thread(one.wait_ready)
    await stream.check(connection)


@pytest.mark.long("six orderly restarts under load")
async def test_workers_restarted_in_turn_under_load(start: Start, connection: Connection, kafka: KafkaPart) -> None:
    workers = [start(name) for name in ("one", "two", "three")]
    await _share(connection, "one", "two", "three")
    async with streaming(connection, kafka.bootstrap) as stream:
        for worker in (*workers, *workers):
            assert await asyncio.to_thread(worker.stop), "exited after SIGTERM"
            assert worker.name not in set((await owners(connection)).values()), "its leases are released"
            worker.spawn()
            await asyncio.to_thread(worker.wait_ready)
            await _share(connection, "one", "two", "three")
            await stream.more(connection, 100)
    await stream.check(connection)


@pytest.mark.long("shares that grow and shrink under load")
async def test_one_then_three_then_one_under_load(start: Start, connection: Connection, kafka: KafkaPart) -> None:
    start("one")
    await _share(connection, "one")
    async with streaming(connection, kafka.bootstrap) as stream:
        await stream.more(connection)
        others = [start("two"), start("three")]
        await _share(connection, "one", "two", "three")
        await stream.more(connection)
        assert await asyncio.to_thread(others[0].stop)
        await asyncio.to_thread(others[1].kill)
        await _share(connection, "one")
        await stream.more(connection)
    await stream.check(connection)


@pytest.mark.long("workers that never reach Kafka or PostgreSQL")
async def test_a_worker_that_cannot_reach_kafka_or_postgresql_has_no_lease_and_reports_it(
    start: Start, connection: Connection, kafka: KafkaPart
) -> None:
    start("one")
    await _share(connection, "one")
    nowhere = f"127.0.0.1:{free_port()}"
    blind = start("two", DDOR_KAFKA_BOOTSTRAP=nowhere)
    lost = start("three", DDOR_POSTGRES_DSN=f"postgresql://ddor@{nowhere}/ddor")
    async with streaming(connection, kafka.bootstrap) as stream:
        await asyncio.sleep(LONGER)
        await stream.more(connection)
        for service in (blind, lost):
            assert service.running(), "waits instead of exiting"
            assert not service.ready()
        assert Counter((await owners(connection)).values()) == {"one": len(PARTITIONS)}
    for service in (blind, lost):
        assert await asyncio.to_thread(service.stop), "exited after SIGTERM"
    await stream.check(connection)


@pytest.mark.long("a network that is cut twice")
async def test_a_worker_cut_off_from_postgresql_loses_its_leases_and_writes_nothing_late(
    start: Start, chosen: Settings, connection: Connection, kafka: KafkaPart
) -> None:
    """No data arrives, but no connection is closed. The delayed data arrives at the end."""
    async with in_front(chosen.postgres_dsn.get_secret_value(), Line()) as (dsn, line):
        start("one")
        two = start("two", DDOR_POSTGRES_DSN=dsn)
        await _share(connection, "one", "two")
        async with streaming(connection, kafka.bootstrap) as stream:
            for _ in range(2):
                await stream.more(connection)
                line.open.clear()
                await _share(connection, "one")
                await stream.more(connection)
                await until(partial(_is_unready, two), "not ready")
                assert two.running(), "waits instead of exiting"
                line.open.set()
                await _share(connection, "one", "two")
                await stream.more(connection)
        await stream.check(connection)
        assert await asyncio.to_thread(two.stop)


@pytest.mark.long("a network that is cut twice")
@pytest.mark.real_kafka("has one listener")
async def test_a_worker_cut_off_from_kafka_releases_its_leases(
    start: Start, connection: Connection, tmp_path: Path
) -> None:
    """The worker still reaches PostgreSQL and no connection to Kafka is closed. It must still release its leases."""
    if lacking := kafka_jars.missing():
        pytest.skip(" ".join(lacking))
    line = Line()
    async with two_listeners(tmp_path / "own-kafka", line) as (kafka, proxied):
        kafka_log.make_topics(kafka)
        await connection.execute("UPDATE partition_position SET next_offset = 0")
        start("one", DDOR_KAFKA_BOOTSTRAP=kafka.bootstrap)
        two = start("two", DDOR_KAFKA_BOOTSTRAP=proxied)
        start("three", DDOR_KAFKA_BOOTSTRAP=kafka.bootstrap)
        await _share(connection, "one", "two", "three")
        async with streaming(connection, kafka.bootstrap) as stream:
            for _ in range(2):
                await stream.more(connection)
                attempts = _attempts(two)
                line.open.clear()
                await _share(connection, "one", "three")
                in_vain = partial(_tries_in_vain, two, connection, attempts + 2)
                await until(in_vain, "the end of its session, and one more attempt")
                await stream.more(connection)
                assert await _is_unready(two)
                assert two.running(), "waits instead of exiting"
                line.open.set()
                await _share(connection, "one", "two", "three")
                await stream.more(connection)
        await stream.check(connection)
        assert await asyncio.to_thread(two.stop)


async def _tries_in_vain(service: Service, connection: Connection, least: int) -> bool:
    assert service.name not in (await owners(connection)).values()
    return _attempts(service) >= least


def _attempts(service: Service) -> int:
    return service.process.log.read_text().count("session-ended")


async def _is_unready(service: Service) -> bool:
    return not await asyncio.to_thread(service.ready)


async def _epochs(connection: Connection) -> list[int]:
    rows = await connection.fetch("SELECT epoch FROM partition_position ORDER BY topic, partition")
    return [row["epoch"] for row in rows]
