"""The retention of rejects and sent messages; every record stays accounted for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.local.parts import KafkaPart
from schemas.topics import DETAINER_REJECTED, REPORT_READY
from services.aggregator import retention
from services.aggregator.queries import SQL as AGGREGATOR
from services.publisher import relay as relays
from services.publisher.queries import SQL
from services.publisher.snapshot import SnapshotReader
from services.runtime import metrics
from services.runtime.errors import InvariantError
from tests.conftest import MakeSettings
from tests.support import kafka_log
from tests.support.commands import ddor
from tests.support.kafka_log import Message
from tests.support.life import both, living
from tests.support.positions import Connection
from tests.support.publishing import new_week, relaying

_REJECTS = timedelta(days=400)
_SENT = timedelta(days=30)
_SECOND = timedelta(seconds=1)
_AGED = "UPDATE rejected SET rejected_at = now() - $1::interval"


async def _accounted(connection: Connection) -> bool:
    return not await connection.fetch(SQL["unaccounted"])


async def test_rejects_are_deleted_after_400_days_and_every_record_stays_accounted_for(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    week = new_week()
    async with living(settings(first_week=week.first), week) as life:
        bad = [Message("detainer-issued", b"no event", b"k%d" % n, partition=n % 3) for n in range(6)]
        addresses = await life.write(*bad, *both(range(3), week))
        await connection.execute(_AGED, _REJECTS - _SECOND * 60)
        now = datetime.now(UTC)
        assert await retention.prune(connection, now) == 0
        assert await retention.prune(connection, now + timedelta(days=3)) == 0, "one host's clock is ahead"
        await connection.execute(_AGED, _REJECTS + _SECOND)
        # Rejects that explain a revision stay, and those that a replay cannot reproduce.
        one, other = addresses[0], addresses[1]
        condition = "WHERE (topic, partition, kafka_offset) = ($1, $2, $3)"
        await connection.execute(f"UPDATE rejected SET redriven_at = now(), redriven_to = 'x/0/1' {condition}", *one)
        await connection.execute(f"UPDATE rejected SET reason = 'internal_error' {condition}", *other)
        assert await retention.prune(connection, now - timedelta(days=3)) == 0, "one host's clock is behind"
        assert await retention.prune(connection, now + timedelta(days=3)) == 4
        assert await retention.prune(connection, now + timedelta(days=3)) == 0
        remaining = await connection.fetch("SELECT topic, partition, kafka_offset FROM rejected")
        assert {tuple(row) for row in remaining} == {one, other}
        assert await connection.fetchval("SELECT sum(records) FROM pruned_reject") == 4
        assert await _accounted(connection)
        assert await life.close(week) == 2, "the week is proven and published"
        done = await ddor(life.settings, "trace", "/".join(map(str, addresses[2])))
        assert (done.exit_code, "rejected, by the current rules as " in done.out) == (0, True), done
    await connection.execute("UPDATE pruned_reject SET records = records + 1")
    assert not await _accounted(connection), "a wrong number is detected"
    async with connection.transaction(isolation="repeatable_read"):
        snapshots = SnapshotReader(connection)
        await snapshots.vector()
        with pytest.raises(InvariantError, match="not accounted for"):
            await snapshots.prove(week.first)


async def test_many_rejects_are_deleted_in_bounded_statements_and_locked_rows_are_skipped(
    store_settings: MakeSettings, connection: Connection
) -> None:
    rows = 2 * retention.MAX_ROWS + 5
    await connection.execute(
        "INSERT INTO rejected (topic, partition, kafka_offset, reason, detail, sha256, rejected_at)"
        " SELECT 'detainer-issued', n % 12, n, 'not-json', '', '', now() - interval '401 days'"
        " FROM generate_series(1, $1::integer) AS n",
        rows,
    )
    statements: list[str] = []
    connection.add_query_logger(lambda record: statements.append(record.query))
    async with kafka_log.connected(store_settings()) as other, other.transaction():
        await other.execute("SELECT FROM rejected WHERE kafka_offset <= 5 FOR UPDATE")
        assert await retention.prune(connection, datetime.now(UTC)) == rows - 5
    assert statements.count(AGGREGATOR["prune_rejects"]) == 3
    assert await retention.prune(connection, datetime.now(UTC)) == 5
    assert await connection.fetchval("SELECT sum(records) FROM pruned_reject") == rows


async def test_an_aggregator_prunes_and_exports_the_time(store_settings: MakeSettings, connection: Connection) -> None:
    await connection.execute(
        "INSERT INTO rejected (topic, partition, kafka_offset, reason, detail, sha256, rejected_at)"
        " VALUES ('detainer-issued', 0, 1, 'not-json', '', '', now() - interval '401 days')"
    )
    before = metrics.PRUNED.labels("rejected")._value.get()

    class Enough(Exception):  # noqa: N818
        pass

    async def pause(_: float) -> None:
        raise Enough

    now = datetime.now(UTC)
    with pytest.raises(Enough):
        await retention.run(store_settings(), lambda: now, pause)
    assert metrics.PRUNED.labels("rejected")._value.get() == before + 1
    for table in ("rejected", "rejected_raw"):
        assert metrics.PRUNED_AT.labels(table)._value.get() == now.timestamp()


async def _outbox(connection: Connection, **ages: Any) -> None:
    """Messages by name, each sent a given time ago, or unsent."""
    for name, age in ages.items():
        await connection.execute(
            "INSERT INTO outbox (topic, key, value, headers, timestamp_ms, created_at, sent_at, sent_offset)"
            " VALUES ($1, $2, '{}', jsonb_build_object('id', $3::text), 0, now() - interval '3 years',"
            " now() - $4::interval, CASE WHEN $4::interval IS NULL THEN NULL ELSE 1 END)",
            DETAINER_REJECTED, name.encode(), name, age,
        )  # fmt: skip


async def _names(connection: Connection) -> set[str]:
    return {row["key"].decode() for row in await connection.fetch("SELECT key FROM outbox")}


async def test_a_sent_message_is_deleted_after_30_days_and_an_unsent_one_never(
    settings: MakeSettings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last message of a topic is not deleted either: the relay looks for sent messages from there on."""
    late = _SENT + 2 * _SECOND
    await _outbox(connection, waits=None, old=_SENT + _SECOND, older=2 * _SENT, new=_SENT - _SECOND * 60, last=late)
    monkeypatch.setattr(relays, "PRUNED_AT_ONCE", 1)
    now = datetime.now(UTC)
    ahead = now + timedelta(days=400)
    async with relaying(settings(), connection, now) as relay:
        assert [await relay.prune(ahead) for _ in range(4)] == [1, 1, 0, 0], "the oldest first, in bounded batches"
        assert await _names(connection) == {"waits", "new", "last"}
        assert metrics.PRUNED_AT.labels("outbox")._value.get() == ahead.timestamp()
        await connection.execute("UPDATE outbox SET sent_at = sent_at - interval '1 hour'")
        assert await relay.prune(ahead + timedelta(hours=23)) == 0, "at most once a day"
        assert await relay.prune(ahead + timedelta(hours=24)) == 1
    assert await _names(connection) == {"waits", "last"}


async def test_a_message_of_report_ready_is_never_deleted(settings: MakeSettings, connection: Connection) -> None:
    """Streams of announcements read it."""
    await _outbox(connection, old=_SENT + _SECOND, last=_SENT + _SECOND)
    await connection.execute("UPDATE outbox SET topic = $1", REPORT_READY)
    async with relaying(settings(), connection, datetime.now(UTC)) as relay:
        assert await relay.prune(datetime.now(UTC)) == 0
    assert await _names(connection) == {"old", "last"}


async def test_a_relay_does_not_read_all_unsent_messages_at_its_start(
    settings: MakeSettings, connection: Connection
) -> None:
    """A million rejects may be unsent after a day without Kafka; sent but unmarked messages are at the topic's end."""
    await connection.execute(
        "INSERT INTO outbox (topic, key, value, headers, timestamp_ms, created_at)"
        " SELECT $1, 'k', '{}', jsonb_build_object('id', 'waits/' || n), 0, now() FROM generate_series(1, 3000) AS n",
        REPORT_READY,
    )
    read: list[int] = []
    fetch = connection.fetch

    class Looking:
        """A connection that counts the rows of each statement."""

        def __getattr__(self, name: str) -> Any:
            return getattr(connection, name)

        async def fetch(self, *arguments: Any) -> list[Any]:
            rows = await fetch(*arguments)
            read.append(len(rows))
            return rows

    looking: Any = Looking()
    async with relaying(settings(), looking, datetime.now(UTC)):
        assert max(read, default=0) < 10
    assert await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL") == 3000
