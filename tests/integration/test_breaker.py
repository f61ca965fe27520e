"""Internal errors: one record is rejected; ten halt their partition and no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from functools import partial

import httpx
import pytest

from deploy.local.parts import KafkaPart
from schemas.log import Partition
from services.aggregator import app
from services.aggregator.store import INTERNAL_ERRORS, REJECTS_IN_WINDOW, Store
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import database_outcome, events, kafka_log, model
from tests.support.batches import OWNER, Record, accepted, batch, lease
from tests.support.commands import ddor
from tests.support.in_process import is_ready, running
from tests.support.kafka_log import Message
from tests.support.positions import Connection, accounts, halted, next_offsets
from tests.support.publishing import new_week, publishing
from tests.support.waiting import until

ISSUED = "detainer-issued"
POISON = "36103"
"""A jurisdiction that acceptance allows and a trigger of the test refuses, so that SQL fails."""


def _issued(numbers: Iterable[int], partition: int, jurisdiction: str = "32003") -> list[Message]:
    messages = [events.message("issued", events.issued(number, jurisdiction=jurisdiction)) for number in numbers]
    return [Message(one.topic, one.value, one.key, partition) for one in messages]


async def _plant(connection: Connection) -> None:
    await connection.execute(
        "CREATE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$BEGIN IF NEW.jurisdiction = '{POISON}' THEN RAISE 'planted'; END IF; RETURN NEW; END$$;"
        "CREATE TRIGGER planted BEFORE INSERT ON ledger_entry FOR EACH ROW EXECUTE FUNCTION planted()"
    )


async def _reasons(connection: Connection) -> Counter[str]:
    return Counter(row["reason"] for row in await connection.fetch("SELECT reason FROM rejected"))


async def test_a_record_that_fails_in_sql_is_rejected_and_all_others_are_counted(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    await _plant(connection)
    good = [*_issued(range(300), 0), *_issued(range(1_000, 1_200), 1)]
    where = await kafka_log.append(kafka.bootstrap, [*good[:150], *_issued([900], 0, POISON), *good[150:]])
    async with running(app.create(settings(worker="one"))) as client:
        await kafka_log.counted(connection, kafka.bootstrap)
        assert await is_ready(client)
    (row,) = await connection.fetch("SELECT * FROM rejected")
    assert (row["topic"], row["partition"], row["kafka_offset"]) == where[150]
    assert (row["reason"], row["field"]) == ("internal_error", None)
    assert row["detail"] == "internal error while processing the record: RaiseError"
    assert await database_outcome.outcome(connection) == model.outcome(accepted(good))
    for account in (await accounts(connection)).values():
        assert account["records"] == account["facts"] + account["duplicates"] + account["rejected"]
    assert await halted(connection) == {}


async def test_ten_internal_errors_halt_only_their_partition_until_an_operator_resumes_it(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    await _plant(connection)
    start = (await next_offsets(connection))[Partition(ISSUED, 4)]
    stuck = [one for n in range(INTERNAL_ERRORS + 3) for one in (*_issued([n], 4), *_issued([100 + n], 4, POISON))]
    others = [*_issued(range(200, 300), 5), *_issued(range(300, 400), 6)]
    await kafka_log.append(kafka.bootstrap, [*stuck, *others])
    reason = f"InternalErrors: {INTERNAL_ERRORS} records caused an internal error"
    for _ in range(2):  # a restart does not end the halt
        async with running(app.create(settings(worker="one"))) as client:
            await until(lambda: halted(connection), "the partition halted")
            await kafka_log.append(kafka.bootstrap, (more := _issued([500], 6)))
            others += more
            await until(lambda: _all_but(connection, kafka, Partition(ISSUED, 4)), "all other partitions counted")
            assert await is_ready(client)
        assert await halted(connection) == {Partition(ISSUED, 4): reason}
    assert (await next_offsets(connection))[Partition(ISSUED, 4)] == start + 2 * INTERNAL_ERRORS
    assert await _reasons(connection) == {"internal_error": INTERNAL_ERRORS}

    await connection.execute("DROP TRIGGER planted ON ledger_entry")
    done = await ddor(settings(), "resume", f"{ISSUED}/4", "--by", "a.smith")
    assert done.exit_code == 0, done
    assert f"resumed at offset {start + 2 * INTERNAL_ERRORS}" in done.out
    async with running(app.create(settings(worker="one"))):
        await kafka_log.counted(connection, kafka.bootstrap)
    counted = [*stuck[: 2 * INTERNAL_ERRORS : 2], *stuck[2 * INTERNAL_ERRORS :], *others]
    assert await database_outcome.outcome(connection) == model.outcome(accepted(counted))
    (action,) = await connection.fetch("SELECT by, action, subject, detail FROM operator_action")
    assert (action["by"], action["action"], action["subject"]) == ("a.smith", "resume", f"{ISSUED}/4")
    assert action["detail"]["halted_reason"] == reason


async def test_too_many_rejects_in_the_window_halt_and_rejects_before_a_resume_do_not_count(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    junk = [Message(ISSUED, b"{", partition=7)] * (REJECTS_IN_WINDOW + 1)
    async with running(app.create(settings(worker="one"))):
        await kafka_log.append(kafka.bootstrap, junk)
        await until(lambda: halted(connection), "the partition halted")
        assert (await halted(connection))[Partition(ISSUED, 7)].startswith("TooManyRejects: ")
        good = _issued(range(20), 7)
        await kafka_log.append(kafka.bootstrap, good)
        assert (await ddor(settings(), "resume", f"{ISSUED}/7", "--by", "a.smith")).exit_code == 0
        await kafka_log.append(kafka.bootstrap, junk[:50])
        await kafka_log.counted(connection, kafka.bootstrap)
    assert await halted(connection) == {}
    assert await database_outcome.outcome(connection) == model.outcome(accepted(good))


async def test_a_halted_partition_is_in_the_metrics_until_resumed_also_after_a_restart(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    junk = [Message(ISSUED, b"{", partition=2)] * (REJECTS_IN_WINDOW + 1)
    position = (await kafka_log.append(kafka.bootstrap, junk))[-1][2] + 1
    await _count_until_halted(settings(worker="one"), connection)
    await kafka_log.append(kafka.bootstrap, _issued(range(30), 2))
    lag = (await kafka_log.ends(kafka.bootstrap))[Partition(ISSUED, 2)] - position
    shown = f'ddor_aggregator_lag_records{{partition="2",topic="{ISSUED}"}} {float(lag)}\n'
    for name in ("one", "two"):  # the same worker, then another one
        async with running(app.create(settings(worker=name))) as client:
            metrics = await until(partial(_shown, client, shown), "the lag of the halted partition")
            assert "ddor_aggregator_unread_partitions 1.0\n" in metrics
    async with running(app.create(settings(worker="one"))) as client:
        await until(partial(_shown, client, shown), "the lag of the halted partition")
        assert (await ddor(settings(), "resume", f"{ISSUED}/2", "--by", "a.smith")).exit_code == 0
        await kafka_log.counted(connection, kafka.bootstrap)
        await until(partial(_shown, client, "ddor_aggregator_unread_partitions 0.0\n"), "no partition halted")
        await until(partial(_shown, client, shown.replace(f" {float(lag)}", " 0.0")), "no lag")


async def test_resume_accepts_an_offset_only_for_a_lost_position(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    partition = f"{ISSUED}/3"
    done = await ddor(settings(), "resume", partition, "--by", "a.smith")
    assert (done.exit_code, "is not halted" in done.out) == (0, True)
    end = (await kafka_log.ends(kafka.bootstrap))[Partition(ISSUED, 3)]
    halt = "UPDATE partition_position SET halted_reason = $1, next_offset = $2 WHERE topic = $3 AND partition = 3"
    await connection.execute(halt, "InternalErrors: a test", end, ISSUED)
    done = await ddor(settings(), "resume", partition, "--by", "a.smith", "--at", "0")
    assert done.exit_code == 1
    assert "omit --at, it is only for PositionLost" in done.err
    await connection.execute(halt, "PositionLost: a test", end + 1_000, ISSUED)
    done = await ddor(settings(), "resume", partition, "--by", "a.smith", "--at", str(end))
    assert (done.exit_code, f"resumed at offset {end}" in done.out) == (0, True)
    async with running(app.create(settings(worker="one"))):
        await kafka_log.append(kafka.bootstrap, (messages := _issued([1], 3)))
        await kafka_log.counted(connection, kafka.bootstrap)
    assert await database_outcome.outcome(connection) == model.outcome(accepted(messages))
    (action,) = await connection.fetch("SELECT detail FROM operator_action")
    assert action["detail"] == {"halted_reason": "PositionLost: a test", "from": end + 1_000, "at": end}


@pytest.mark.parametrize(
    ("argument", "code", "words"),
    [
        ("detainer-issued", 2, "'detainer-issued': write topic/partition"),
        ("detainer-issued/1/2", 2, "'detainer-issued/1/2': write topic/partition"),
        ("report-ready/0", 2, "unknown topic report-ready"),
        ("detainer-issued/99", 1, "detainer-issued/99: no aggregator has read this partition yet"),
    ],
)
async def test_resume_refuses_an_invalid_or_unknown_partition(
    settings: MakeSettings, argument: str, code: int, words: str
) -> None:
    done = await ddor(settings(), "resume", argument, "--by", "a.smith")
    assert (done.exit_code, words in done.err) == (code, True), done


async def test_a_halted_partition_holds_the_week(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    week = new_week()
    chosen = settings(worker="one", first_week=week.first)
    await kafka_log.append(kafka.bootstrap, [Message(ISSUED, b"{", partition=8)] * (REJECTS_IN_WINDOW + 1))
    await _count_until_halted(chosen, connection)
    await kafka_log.append(kafka.bootstrap, _issued([1], 8))
    async with publishing(chosen, week.ends_at + timedelta(hours=25)) as publisher:
        await publisher.steps()
        assert await connection.fetchval("SELECT state FROM week_close") == "held"
        assert f"{ISSUED}/8" in str(await connection.fetchval("SELECT held_because FROM week_close"))
        assert await connection.fetchval("SELECT count(*) FROM report") == 0
        assert (await ddor(chosen, "resume", f"{ISSUED}/8", "--by", "a.smith")).exit_code == 0
        async with running(app.create(chosen)):
            await kafka_log.counted(connection, kafka.bootstrap)
        publisher.clock.now += timedelta(hours=1)
        await publisher.steps()
        assert await connection.fetchval("SELECT count(*) FROM report WHERE revision = 1") == 1


async def test_an_address_rejected_in_a_replaced_log_can_be_rejected_again(
    store_settings: MakeSettings, connection: Connection
) -> None:
    """After a topic was recreated and an operator resumed at its start. Otherwise the partition could never resume."""
    first = [Record(ISSUED, 0, 0, b"old", b"old bytes")]
    again = [Record(ISSUED, 0, 0, b"new", events.encoded(events.envelope("issued", events.issued(1, name="Doe"))))]
    await lease(connection, [first[0].at])
    async with kafka_log.connected(store_settings()) as writing:
        store = Store(writing, OWNER)
        await store.prepare()
        await store.write(batch(first))
        await connection.execute("UPDATE partition_position SET halted_reason = 'PositionLost: a test'")
        done = await ddor(store_settings(), "resume", str(first[0].at), "--by", "a.smith", "--at", "0")
        assert done.exit_code == 0, done
        await connection.execute("UPDATE partition_position SET owner = $1, epoch = 1", OWNER)
        await store.write(batch(again))
    rows = await connection.fetch("SELECT kafka_offset, reason FROM rejected ORDER BY kafka_offset")
    assert [tuple(row) for row in rows] == [(-1, "not-json"), (0, "unknown-field")]
    assert await connection.fetchval("SELECT count(*) FROM rejected_raw") == 0, "may be personal data: not stored"


async def _shown(client: httpx.AsyncClient, line: str) -> str:
    """Wait until the metrics contain this line."""
    metrics = (await client.get("/metrics")).text
    return metrics if line in metrics else ""


async def _count_until_halted(settings: Settings, connection: Connection) -> None:
    async with running(app.create(settings)):
        await until(lambda: halted(connection), "the partition halted")


async def _all_but(connection: Connection, kafka: KafkaPart, stuck: Partition) -> bool:
    ends, positions = await kafka_log.ends(kafka.bootstrap), await next_offsets(connection)
    return {one for one in ends if positions[one] != ends[one]} == {stuck}
