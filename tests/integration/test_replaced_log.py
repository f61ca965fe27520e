"""A topic is lost and recreated: counted facts are preserved, and later revisions are exact."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.parts import KafkaPart
from schemas.log import Partition
from schemas.topics import DETAINER_DECLINED, DETAINER_ISSUED
from schemas.week import ReportingWeek
from services.aggregator import app as aggregator
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import commands, database_outcome, kafka_log, model, positions
from tests.support.batches import accepted
from tests.support.events import CLARK, detainer_id
from tests.support.in_process import running
from tests.support.kafka_log import Message
from tests.support.life import changes, detainer, newest, prove_chain
from tests.support.positions import Connection
from tests.support.publishing import Publisher, new_week, publishing
from tests.support.waiting import until

pytestmark = pytest.mark.real_kafka("recreates a deleted topic on a metadata request")
GARBAGE = [Message(DETAINER_DECLINED, b"no event", b"", number) for number in (0, 0, 1)]
REDRIVEN = 940
_PAGE = Path(__file__).parents[2] / "docs" / "runbooks" / "log-lost.md"


def another() -> list[Message]:
    """A reject at the start of each partition, with bytes that no earlier log contains."""
    return [Message(DETAINER_DECLINED, secrets.token_bytes(8), b"", number) for number in range(12)]


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
def chosen(store_settings: MakeSettings, own_kafka: KafkaPart, week: ReportingWeek) -> Settings:
    return store_settings(kafka_bootstrap=own_kafka.bootstrap, first_week=week.first, worker="one")


@pytest.fixture
async def publisher(chosen: Settings, week: ReportingWeek) -> AsyncIterator[Publisher]:
    async with publishing(chosen, week.begins_at) as one:
        yield one


async def _count(settings: Settings, connection: Connection, messages: list[Message]) -> None:
    await kafka_log.append(settings.kafka_bootstrap, messages)
    async with running(aggregator.create(settings)):
        await kafka_log.counted(connection, settings.kafka_bootstrap)


async def _replace(settings: Settings, connection: Connection, messages: list[Message]) -> None:
    """Delete the topic of declines, recreate it with these messages, and resume its partitions at offset 0."""
    read = await positions.next_offsets(connection)
    lost = {one for one, at in read.items() if one.topic == DETAINER_DECLINED and at > 0}
    await kafka_log.recreate(settings.kafka_bootstrap, DETAINER_DECLINED)
    await kafka_log.append(settings.kafka_bootstrap, [*another(), *messages])
    async with running(aggregator.create(settings)):

        async def halted() -> bool:
            rows = await connection.fetch("SELECT topic, partition FROM partition_position WHERE halted_reason <> ''")
            return {Partition(row["topic"], row["partition"]) for row in rows} == lost

        await until(halted, "all partitions with a position above 0 halted")
        for partition in sorted(lost):
            done = await commands.ddor(settings, "resume", str(partition), "--by", "Ada", "--at", "0")
            assert done.exit_code == 0, done.output
        await kafka_log.counted(connection, settings.kafka_bootstrap)


async def _close(publisher: Publisher, settings: Settings, week: ReportingWeek) -> None:
    publisher.clock.now = week.ends_at + settings.grace
    assert await publisher.steps() == 2


async def _state(connection: Connection) -> str:
    state: str = await connection.fetchval("SELECT state FROM week_close")
    return state


async def _accounted(connection: Connection) -> None:
    for partition, one in (await positions.accounts(connection)).items():
        assert one["records"] == one["facts"] + one["duplicates"] + one["rejected"], partition
        assert one["rejected"] == one["rejects kept"], partition


async def test_reports_before_and_after_a_log_was_replaced_are_restated_with_exact_causes(
    chosen: Settings, connection: Connection, publisher: Publisher, week: ReportingWeek
) -> None:
    weeks = [week]
    for _ in range(4):
        weeks.append(chosen.calendar.next(weeks[-1]))
    issued = [detainer("issued", number, week) for number in range(100)]
    first = [detainer("declined", number, week) for number in range(30)]
    await _count(chosen, connection, [*issued, *first, *GARBAGE])
    await _close(publisher, chosen, weeks[0])
    late = [detainer("declined", number, week) for number in range(30, 34)]
    await _count(chosen, connection, late)

    again = [detainer("declined", number, week, version=2) for number in range(20, 60)]
    await _replace(chosen, connection, again)
    await _accounted(connection)
    assert await database_outcome.outcome(connection) == model.outcome(accepted([*issued, *first, *late, *again]))
    await _close(publisher, chosen, weeks[1])
    assert changes(await newest(connection, week)) == {(CLARK, "declined"): (30, 60, {"late": 30})}

    withdrawn = {"version": 9, "withdrawn": True, "withdrawn_reason": "entered-in-error"}
    await _count(chosen, connection, [detainer("declined", number, week, **withdrawn) for number in (0, 31, 59)])
    await _close(publisher, chosen, weeks[2])
    assert changes(await newest(connection, week)) == {(CLARK, "declined"): (60, 57, {"withdrawn": -3})}

    last = [detainer("declined", number, week, version=3) for number in range(58, 70)]
    await _replace(chosen, connection, last)
    await _accounted(connection)
    await _close(publisher, chosen, weeks[3])
    assert changes(await newest(connection, week)) == {(CLARK, "declined"): (57, 67, {"late": 10})}
    assert await prove_chain(connection) == 7

    traced = await commands.ddor(chosen, "trace", str(detainer_id(5)))
    assert all(f"{week} revision {number}" in traced.output for number in (1, 2, 3, 4)), traced.output
    done = await commands.ddor(chosen, "verify", f"{week}@1")
    assert (done.exit_code, "the log was replaced" in done.output) == (1, True), done.output


async def test_a_held_week_whose_log_is_replaced_is_halted_until_the_runbook_is_followed(
    chosen: Settings, connection: Connection, publisher: Publisher, week: ReportingWeek
) -> None:
    """Its barrier refers to the lost log, so that neither the deadline nor a release could publish it."""
    declined = [detainer("declined", number, week) for number in range(600, 660)]  # used by no other test on this log
    conflict = detainer("declined", 600, week, reason="capacity")
    await _count(chosen, connection, [*declined, conflict])
    publisher.clock.now = week.ends_at + chosen.grace
    await publisher.steps()
    assert await _state(connection) == "held"
    await _replace(chosen, connection, [])
    for state in ("halted", "halted"):
        assert await publisher.steps() == 0
        assert await _state(connection) == state

    (statement,) = re.findall(r'psql -U ddor -c "\s+(WITH .*?)"', _PAGE.read_text(), re.DOTALL)
    for moved in ("INSERT 0 1", "INSERT 0 0"):
        assert await connection.execute(statement.replace("2026-11-14", str(week))) == moved
    await publisher.steps()
    assert await _state(connection) == "held", "the conflict is still open and needs an operator"
    done = await commands.ddor(chosen, "release", str(week), "--by", "Ada", "--note", "sent again")
    assert done.exit_code == 0, done.output
    await publisher.steps()
    assert (await newest(connection, week))["totals"]["declined"] == 60
    moves = await connection.fetch("SELECT to_state FROM week_transition ORDER BY id")
    assert [row["to_state"] for row in moves] == [
        "draining", "held", "halted", "requested", "draining", "held", "closed",
    ]  # fmt: skip


async def test_replacing_a_log_moves_the_addresses_of_redriven_records(
    chosen: Settings, connection: Connection
) -> None:
    facts = [detainer("declined", REDRIVEN, new_week())]
    ((topic, number, offset),) = await kafka_log.append(chosen.kafka_bootstrap, facts)
    await _count(chosen, connection, GARBAGE)
    end = (await positions.next_offsets(connection))[Partition(topic, number)]
    await connection.execute("UPDATE rejected SET redriven_to = $1", f"{topic}/{number}/{offset}")
    await _replace(chosen, connection, [])
    redriven = {row["redriven_to"] for row in await connection.fetch("SELECT redriven_to FROM rejected")}
    assert redriven == {f"{topic}/{number}/{offset - end}", None}
    moved = "SELECT kafka_offset FROM ledger WHERE detainer_id = $1"
    assert await connection.fetchval(moved, detainer_id(REDRIVEN)) == offset - end
    assert DETAINER_ISSUED not in {row["topic"] for row in await connection.fetch("SELECT topic FROM replaced_log")}
