"""A week between two reports: the relay continues although Kafka has dropped its unused transactional id."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from structlog.testing import capture_logs

from deploy.local import kafka_jars
from deploy.local.kafka_native import NativeKafka
from deploy.local.parts import KafkaPart
from schemas.log import Vector
from schemas.topics import REPORT_READY
from services.publisher.closing import Close, State
from services.publisher.queries import SQL
from services.publisher.relay import Relay
from services.runtime.kafka_rights import TRANSACTIONAL_ID
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import kafka_log
from tests.support.local_parts import started
from tests.support.positions import Connection
from tests.support.publishing import client, new_week, relaying, report_inputs, store
from tests.support.waiting import until

_FORGETFUL = {
    "transactional.id.expiration.ms": "1000",
    "transaction.remove.expired.transaction.cleanup.interval.ms": "100",
}
_LONG = 7 * 86_400.0


class ManualClock:
    """A monotonic clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def _publish(settings: Settings, connection: Connection) -> bytes:
    """Write revision 1 of an empty week. Returns the key of its messages."""
    week = new_week()
    now, publishing = week.ends_at, store(settings, connection)
    await publishing.set_barrier(week.first, State.OPEN, Vector(), now)
    assert await publishing.publish(week, Close(State.DRAINING, Vector()), report_inputs(settings), now, now)
    return str(week).encode()


async def _keys(bootstrap: str) -> list[bytes | None]:
    return [record.key for record in await kafka_log.read(bootstrap, REPORT_READY)]


@pytest.fixture(scope="module")
def expiring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeKafka]:
    """A Kafka that drops a transactional id after one second instead of seven days."""
    if lacking := kafka_jars.missing():
        pytest.skip(" ".join(lacking))
    kafka = NativeKafka(tmp_path_factory.mktemp("forgetful"), settings=_FORGETFUL)
    with started(kafka):
        kafka_log.make_topics(kafka)
        yield kafka


async def _is_expired(bootstrap: str) -> bool:
    command = kafka_jars.java_command(
        "org.apache.kafka.tools.TransactionsCommand", "--bootstrap-server", bootstrap, "list", log_level="ERROR"
    )
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=True)
    return TRANSACTIONAL_ID not in done.stdout


async def test_a_relay_whose_transactional_id_has_expired_still_sends(
    store_settings: MakeSettings, connection: Connection, expiring: NativeKafka
) -> None:
    settings = store_settings(kafka_bootstrap=expiring.bootstrap)
    clock, now = ManualClock(), new_week().ends_at
    relay = Relay(client(settings), connection, clock)
    try:
        await relay.start(now)
        keys = []
        with capture_logs() as logs:
            for _ in range(2):
                keys.append(await _publish(settings, connection))
                assert await relay.run(now) == 2
                await until(lambda: _is_expired(expiring.bootstrap), "Kafka to drop the unused transactional id")
                clock.now += _LONG
        assert await _keys(expiring.bootstrap) == keys
        assert [one["event"] for one in logs if one["log_level"] in ("warning", "error")] == []
        # Without the renewal, the send fails:
        await _publish(settings, connection)
        with pytest.raises(KafkaError):
            await relay.send(await connection.fetch(SQL["unsent"]))
    finally:
        await relay.stop()


class Ended:
    """A connection whose session ends after `calls` statements; None: never."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.calls: int | None = None

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._connection, name)

        async def counted(*arguments: Any) -> Any:
            if self.calls == 0:
                raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
            self.calls = None if self.calls is None else self.calls - 1
            return await call(*arguments)

        return counted


@pytest.mark.parametrize(
    ("statements", "fenced"), [(0, False), (1, True)], ids=["before the renewal", "after the renewal"]
)
async def test_a_stopped_relay_that_lost_the_lead_sends_nothing_when_it_renews(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart, statements: int, fenced: bool
) -> None:
    """It may fence the relay that took over, which then restarts. But only the leader sends."""
    clock, now, leading = ManualClock(), new_week().ends_at, Ended(connection)
    stopped = Relay(client(settings()), leading, clock)  # type: ignore[arg-type]  # implements the calls in use
    try:
        await stopped.start(now)
        async with relaying(settings(), connection, now) as leader:
            key = await _publish(settings(), connection)
            clock.now, leading.calls = _LONG, statements
            with pytest.raises(asyncpg.ConnectionDoesNotExistError):
                await stopped.run(now)
            assert key not in await _keys(kafka.bootstrap)
            if fenced:
                with pytest.raises(KafkaError):
                    await leader.run(now)
            else:
                assert await leader.run(now) == 2
    finally:
        await stopped.stop()
    async with relaying(settings(), connection, now) as leader:
        assert await leader.run(now) == (2 if fenced else 0)
    assert (await _keys(kafka.bootstrap)).count(key) == 1


async def test_a_fenced_relay_that_sends_slowly_fails_with_an_error_of_kafka(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first message has been refused before the second one is sent. Not a defect: no traceback."""
    now = new_week().ends_at
    send: Callable[..., Awaitable[asyncio.Future[Any]]] = AIOKafkaProducer.send

    async def send_and_wait(producer: AIOKafkaProducer, *arguments: Any, **options: Any) -> asyncio.Future[Any]:
        future = await send(producer, *arguments, **options)
        await asyncio.wait([future])
        return future

    monkeypatch.setattr(AIOKafkaProducer, "send", send_and_wait)
    async with relaying(settings(), connection, now) as fenced, relaying(settings(), connection, now) as leader:
        key = await _publish(settings(), connection)
        with pytest.raises(KafkaError, match="ended before all"):
            await fenced.run(now)
        assert await leader.run(now) == 2
    assert (await _keys(kafka.bootstrap)).count(key) == 1
