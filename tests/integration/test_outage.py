"""Aggregator and publisher without Kafka or PostgreSQL: they wait, report it, recover, and stop on SIGTERM."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import pytest
from asyncpg import SerializationError
from pydantic import SecretStr

from deploy.local.databases import ensure_database
from deploy.local.parts import KafkaPart, PostgresPart
from deploy.local.service import Service
from schemas.log import Vector
from schemas.topics import REPORT_READY
from services.publisher.closing import Close, State
from services.publisher.store import Store
from services.runtime.settings import Settings
from tests.support import events, kafka_log, processes
from tests.support.agencies import write_agencies
from tests.support.local_parts import migrated
from tests.support.positions import Connection
from tests.support.processes import DRAIN_SECONDS
from tests.support.publishing import all_sent, new_week, report_inputs
from tests.support.stacks import looking
from tests.support.waiting import until

Part: TypeAlias = "KafkaPart | PostgresPart"
PARTS = ["Kafka", "PostgreSQL"]
ROLES = ["aggregator", "publisher"]


@pytest.fixture(scope="module")
async def dsn(own_postgres: PostgresPart) -> str:
    return await migrated(ensure_database(own_postgres.dsn, "outage"))


@pytest.fixture
def variables(own_kafka: KafkaPart, dsn: str, tmp_path: Path) -> dict[str, str]:
    return {
        "DDOR_KAFKA_BOOTSTRAP": own_kafka.bootstrap,
        "DDOR_POSTGRES_DSN": dsn,
        "DDOR_AGENCIES_FILE": str(write_agencies(tmp_path / "agencies.toml")),
        "DDOR_FIRST_WEEK": "2090-01-07",
    }


@pytest.fixture(params=ROLES)
def service(
    request: pytest.FixtureRequest,
    variables: dict[str, str],
    tmp_path: Path,
    own_kafka: KafkaPart,
    own_postgres: PostgresPart,
) -> Iterator[Service]:
    """A service, not started. Kafka and PostgreSQL run before and after each test."""
    one = processes.service(request.param, tmp_path, variables)
    try:
        yield one
    finally:
        for part in (own_kafka, own_postgres):
            part.resume()
            part.start()
        one.stop(DRAIN_SECONDS)


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[Connection]:
    async with looking(dsn) as found:
        yield found


@pytest.mark.parametrize(
    "what", [pytest.param("Kafka", marks=pytest.mark.long("another dependency is unavailable")), "PostgreSQL"]
)
async def test_a_service_starts_without_kafka_or_postgresql_and_works_once_it_is_available(
    service: Service, own_kafka: KafkaPart, own_postgres: PostgresPart, what: str
) -> None:
    part: Part = own_kafka if what == "Kafka" else own_postgres
    await asyncio.to_thread(part.stop)
    processes.start_unready(service)
    async with processes.client(service) as http:
        waiting = await http.get("/readyz")
        assert waiting.status_code == 503
        assert waiting.json()["code"] == "not-ready"
    await until(lambda: _logged(service, "session-ended", 3), "three attempts")
    await asyncio.to_thread(part.start)
    await asyncio.to_thread(service.wait_ready)
    log = service.process.log.read_text()
    assert "Traceback" not in log
    assert "Unclosed" not in log, "connections of failed starts are closed"


@pytest.mark.parametrize("how", ["stopped", pytest.param("paused", marks=pytest.mark.long("another kind of outage"))])
@pytest.mark.parametrize("service", ["publisher"], indirect=True)
async def test_readers_get_503_while_postgresql_is_unavailable(
    service: Service, own_postgres: PostgresPart, how: str
) -> None:
    paths = ["/", "/v1/reports", "/v1/reports/2090-01-07", "/v1/reports/2090-01-07/revisions/1/line-list"]
    await asyncio.to_thread(service.start)
    async with processes.client(service) as http:
        assert [(await http.get(path)).status_code for path in paths] == [200, 200, 404, 404]
        await asyncio.to_thread(own_postgres.stop if how == "stopped" else own_postgres.pause)
        away = await asyncio.gather(*(http.get(path) for path in paths * 3))
        assert {(one.status_code, one.headers.get("retry-after")) for one in away} == {(503, "5")}
        await asyncio.to_thread(own_postgres.start if how == "stopped" else own_postgres.resume)
        await asyncio.to_thread(service.wait_ready)
        assert [(await http.get(path)).status_code for path in paths] == [200, 200, 404, 404]
    assert "Traceback" not in service.process.log.read_text()
    assert await _logged(service, "reports-unavailable", 1)
    assert not await _logged(service, "reports-unavailable", 2)


@pytest.mark.parametrize("how", [pytest.param("stopped", marks=pytest.mark.long("another kind of outage")), "paused"])
@pytest.mark.parametrize("what", PARTS)
async def test_sigterm_stops_a_service_while_kafka_or_postgresql_is_unavailable(
    service: Service, own_kafka: KafkaPart, own_postgres: PostgresPart, what: str, how: str
) -> None:
    await asyncio.to_thread(service.start)
    part: Part = own_kafka if what == "Kafka" else own_postgres
    await asyncio.to_thread(part.stop if how == "stopped" else part.pause)
    assert await asyncio.to_thread(service.stop, DRAIN_SECONDS), "exited before the timeout"


@pytest.mark.real_kafka("loses acknowledged records when stopped while clients write")
@pytest.mark.parametrize("service", ["aggregator"], indirect=True)
async def test_the_aggregator_counts_exactly_after_an_outage(
    service: Service, own_kafka: KafkaPart, own_postgres: PostgresPart, dsn: str
) -> None:
    await asyncio.to_thread(service.start)
    for round_, part in enumerate((own_kafka, own_postgres, own_kafka)):
        messages = [events.message("issued", events.issued(n)) for n in range(round_ * 200, round_ * 200 + 200)]
        await kafka_log.append(own_kafka.bootstrap, messages[:100])
        await asyncio.to_thread(part.kill)
        await asyncio.to_thread(part.start)
        await kafka_log.append(own_kafka.bootstrap, messages[100:])
        await asyncio.to_thread(service.wait_ready)
        async with looking(dsn) as connection:
            await kafka_log.counted(connection, own_kafka.bootstrap)
            assert await connection.fetchval("SELECT count(*) FROM ledger") == (round_ + 1) * 200
            assert await connection.fetchval("SELECT sum(records) FROM partition_position") == (round_ + 1) * 200


@pytest.mark.parametrize("service", ["publisher"], indirect=True)
async def test_sigterm_stops_a_publisher_with_an_unsent_message_and_the_next_sends_it_once(
    service: Service, own_kafka: KafkaPart, variables: dict[str, str], connection: Connection
) -> None:
    week = new_week()
    chosen = Settings(agencies_file=Path(variables["DDOR_AGENCIES_FILE"]))
    await asyncio.to_thread(service.start)
    await asyncio.to_thread(own_kafka.pause)
    async with kafka_log.connected(Settings(postgres_dsn=SecretStr(variables["DDOR_POSTGRES_DSN"]))) as writing:
        store, now = Store(writing, chosen.calendar, chosen.hold), week.ends_at + timedelta(days=1)
        await store.set_barrier(week.first, State.OPEN, Vector(), now)
        with suppress(SerializationError):  # the service has already written the same report
            await store.publish(week, Close(State.DRAINING, Vector()), report_inputs(chosen), now, now)
    await until(lambda: _has_unsent(service), "an unsent message")
    assert await asyncio.to_thread(service.stop, DRAIN_SECONDS), "exited before the timeout"
    await asyncio.to_thread(own_kafka.resume)
    await asyncio.to_thread(service.start)
    await until(lambda: all_sent(connection), "the message sent")

    async def announced() -> int:
        records = await kafka_log.read(own_kafka.bootstrap, REPORT_READY)
        events = [json.loads(record.value or b"") for record in records]
        return sum(event["type"] == "report-ready" and event["subject"] == str(week) for event in events)

    # A broker responds to a commit shortly before readers can read the committed records.
    await until(announced, "the report on the topic")
    assert await announced() == 1


async def _has_unsent(service: Service) -> bool:
    async with processes.client(service) as http:
        text = (await http.get("/metrics")).text
    [age] = [
        line.split()[1] for line in text.splitlines() if line.startswith("ddor_publisher_outbox_oldest_age_seconds ")
    ]
    return float(age) > 0


async def _logged(service: Service, event: str, times: int) -> bool:
    return service.process.log.read_text().count(f'"event": "{event}"') >= times
