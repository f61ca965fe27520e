"""What this program cannot write: one record is rejected, ten of them stop their partition and no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from functools import partial

import httpx
import pytest

from deploy.local.parts import KafkaPart
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
"""A jurisdiction that a trigger of the test refuses: acceptance lets it pass, and SQL fails on it."""


def _told(numbers: Iterable[int], partition: int, place: str = "32003") -> list[Message]:
    told = [events.message("issued", events.issued(number, jurisdiction=place)) for number in numbers]
    return [Message(one.topic, one.value, one.key, partition) for one in told]


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
    good = [*_told(range(300), 0), *_told(range(1_000, 1_200), 1)]
    where = await kafka_log.append(kafka.bootstrap, [*good[:150], *_told([900], 0, POISON), *good[150:]])
    async with running(app.create(settings(worker="one"))) as client:
        await kafka_log.counted(connection, kafka.bootstrap)
        assert await is_ready(client)
    (row,) = await connection.fetch("SELECT * FROM rejected")
    assert (row["topic"], row["partition"], row["kafka_offset"]) == where[150]
    assert (row["reason"], row["field"]) == ("internal_error", None)
    assert row["detail"] == "this program failed on the record: RaiseError"
    assert await database_outcome.outcome(connection) == model.outcome(accepted(good))
    for account in (await accounts(connection)).values():
        assert account["records"] == account["facts"] + account["duplicates"] + account["rejected"]
    assert await halted(connection) == {}


async def test_ten_of_them_halt_that_partition_alone_until_an_operator_resumes_it(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    await _plant(connection)
    start = (await next_offsets(connection))[ISSUED, 4]
    stuck = [one for n in range(INTERNAL_ERRORS + 3) for one in (*_told([n], 4), *_told([100 + n], 4, POISON))]
    others = [*_told(range(200, 300), 5), *_told(range(300, 400), 6)]
    await kafka_log.append(kafka.bootstrap, [*stuck, *others])
    reason = f"InternalErrors: {INTERNAL_ERRORS} records failed inside this program"
    for _ in range(2):  # a restart respects the halt
        async with running(app.create(settings(worker="one"))) as client:
            await until(lambda: halted(connection), "the partition halted")
            await kafka_log.append(kafka.bootstrap, (more := _told([500], 6)))
            others += more
            await until(lambda: _all_but(connection, kafka, (ISSUED, 4)), "all other partitions counted")
            assert await is_ready(client)
        assert await halted(connection) == {(ISSUED, 4): reason}
    assert (await next_offsets(connection))[ISSUED, 4] == start + 2 * INTERNAL_ERRORS
    assert await _reasons(connection) == {"internal_error": INTERNAL_ERRORS}

    await connection.execute("DROP TRIGGER planted ON ledger_entry")
    said = await ddor(settings(), "resume", f"{ISSUED}/4", "--by", "a.smith")
    assert said.exit_code == 0, said
    assert f"goes on at offset {start + 2 * INTERNAL_ERRORS}" in said.out
    async with running(app.create(settings(worker="one"))):
        await kafka_log.counted(connection, kafka.bootstrap)
    counted = [*stuck[: 2 * INTERNAL_ERRORS : 2], *stuck[2 * INTERNAL_ERRORS :], *others]
    assert await database_outcome.outcome(connection) == model.outcome(accepted(counted))
    (action,) = await connection.fetch("SELECT by, action, subject, detail FROM operator_action")
    assert (action["by"], action["action"], action["subject"]) == ("a.smith", "resume", f"{ISSUED}/4")
    assert action["detail"]["halted_reason"] == reason


async def test_too_many_rejects_in_the_window_halt_and_what_was_before_a_resume_no_longer_counts(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    junk = [Message(ISSUED, b"{", partition=7)] * (REJECTS_IN_WINDOW + 1)
    async with running(app.create(settings(worker="one"))):
        await kafka_log.append(kafka.bootstrap, junk)
        await until(lambda: halted(connection), "the partition halted")
        assert (await halted(connection))[ISSUED, 7].startswith("TooManyRejects: ")
        good = _told(range(20), 7)
        await kafka_log.append(kafka.bootstrap, good)
        assert (await ddor(settings(), "resume", f"{ISSUED}/7", "--by", "a.smith")).exit_code == 0
        await kafka_log.append(kafka.bootstrap, junk[:50])
        await kafka_log.counted(connection, kafka.bootstrap)
    assert await halted(connection) == {}
    assert await database_outcome.outcome(connection) == model.outcome(accepted(good))


async def test_a_halted_partition_is_shown_for_as_long_as_it_is_also_after_a_restart(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    stands = (await kafka_log.append(kafka.bootstrap, [Message(ISSUED, b"{", partition=2)] * (REJECTS_IN_WINDOW + 1)))[
        -1
    ][2] + 1
    await _count_until_halted(settings(worker="one"), connection)
    await kafka_log.append(kafka.bootstrap, _told(range(30), 2))
    behind = (await kafka_log.ends(kafka.bootstrap))[ISSUED, 2] - stands
    shown = f'ddor_aggregator_lag_records{{partition="2",topic="{ISSUED}"}} {float(behind)}\n'
    for name in ("one", "two"):  # the same worker again, and another one
        async with running(app.create(settings(worker=name))) as client:
            told = await until(partial(_shown, client, shown), "the lag of the halted partition")
            assert "ddor_aggregator_unread_partitions 1.0\n" in told
    async with running(app.create(settings(worker="one"))) as client:
        await until(partial(_shown, client, shown), "the lag of the halted partition")
        assert (await ddor(settings(), "resume", f"{ISSUED}/2", "--by", "a.smith")).exit_code == 0
        await kafka_log.counted(connection, kafka.bootstrap)
        await until(partial(_shown, client, "ddor_aggregator_unread_partitions 0.0\n"), "no partition halted")
        await until(partial(_shown, client, shown.replace(f" {float(behind)}", " 0.0")), "no lag")


async def test_another_offset_is_for_a_lost_position_alone(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    place = f"{ISSUED}/3"
    said = await ddor(settings(), "resume", place, "--by", "a.smith")
    assert (said.exit_code, "is not halted" in said.out) == (0, True)
    end = (await kafka_log.ends(kafka.bootstrap))[ISSUED, 3]
    halt = "UPDATE partition_position SET halted_reason = $1, next_offset = $2 WHERE topic = $3 AND partition = 3"
    await connection.execute(halt, "InternalErrors: a test", end, ISSUED)
    said = await ddor(settings(), "resume", place, "--by", "a.smith", "--at", "0")
    assert said.exit_code == 1
    assert "--at is for PositionLost alone" in said.err
    await connection.execute(halt, "PositionLost: a test", end + 1_000, ISSUED)
    said = await ddor(settings(), "resume", place, "--by", "a.smith", "--at", str(end))
    assert (said.exit_code, f"goes on at offset {end}" in said.out) == (0, True)
    async with running(app.create(settings(worker="one"))):
        await kafka_log.append(kafka.bootstrap, (told := _told([1], 3)))
        await kafka_log.counted(connection, kafka.bootstrap)
    assert await database_outcome.outcome(connection) == model.outcome(accepted(told))
    (action,) = await connection.fetch("SELECT detail FROM operator_action")
    assert action["detail"] == {"halted_reason": "PositionLost: a test", "from": end + 1_000, "at": end}


@pytest.mark.parametrize(
    ("place", "code", "words"),
    [
        ("detainer-issued", 2, "'detainer-issued': write topic/partition"),
        ("detainer-issued/1/2", 2, "'detainer-issued/1/2': write topic/partition"),
        ("report-ready/0", 2, "there is no topic report-ready"),
        ("detainer-issued/99", 1, "detainer-issued/99: no aggregator has met this partition yet"),
    ],
)
async def test_what_is_no_partition_is_said_so(settings: MakeSettings, place: str, code: int, words: str) -> None:
    said = await ddor(settings(), "resume", place, "--by", "a.smith")
    assert (said.exit_code, words in said.err) == (code, True), said


async def test_a_halted_partition_holds_the_week(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    week = new_week()
    chosen = settings(worker="one", first_week=week.first)
    await kafka_log.append(kafka.bootstrap, [Message(ISSUED, b"{", partition=8)] * (REJECTS_IN_WINDOW + 1))
    await _count_until_halted(chosen, connection)
    await kafka_log.append(kafka.bootstrap, _told([1], 8))
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


async def test_a_place_that_was_rejected_in_an_earlier_log_can_be_rejected_again(
    store_settings: MakeSettings, connection: Connection
) -> None:
    """After a topic was made anew and an operator let it go on at its start: else it could never go on."""
    first = [Record(ISSUED, 0, 0, b"old", b"old bytes")]
    again = [Record(ISSUED, 0, 0, b"new", events.encoded(events.envelope("issued", events.issued(1, name="Doe"))))]
    await lease(connection, [first[0].at])
    async with kafka_log.connected(store_settings()) as writing:
        store = Store(writing, OWNER)
        await store.prepare()
        await store.write(batch(first))
        await connection.execute("UPDATE partition_position SET halted_reason = 'PositionLost: a test'")
        said = await ddor(store_settings(), "resume", str(first[0].at), "--by", "a.smith", "--at", "0")
        assert said.exit_code == 0, said
        await connection.execute("UPDATE partition_position SET owner = $1, epoch = 1", OWNER)
        await store.write(batch(again))
    rows = await connection.fetch("SELECT kafka_offset, reason FROM rejected ORDER BY kafka_offset")
    assert [tuple(row) for row in rows] == [(-1, "not-json"), (0, "unknown-field")]
    assert await connection.fetchval("SELECT count(*) FROM rejected_raw") == 0, "may be personal: nothing is kept"


async def _shown(client: httpx.AsyncClient, line: str) -> str:
    """The metrics, once this line is among them."""
    told = (await client.get("/metrics")).text
    return told if line in told else ""


async def _count_until_halted(settings: Settings, connection: Connection) -> None:
    async with running(app.create(settings)):
        await until(lambda: halted(connection), "the partition halted")


async def _all_but(connection: Connection, kafka: KafkaPart, stuck: tuple[str, int]) -> bool:
    ends, positions = await kafka_log.ends(kafka.bootstrap), await next_offsets(connection)
    return {place for place in ends if positions[place] != ends[place]} == {stuck}
