"""`ddor trace`: a sentence for each outcome of a record, and the revisions that counted it."""

from __future__ import annotations

from datetime import timedelta

from deploy.local.parts import KafkaPart
from services.aggregator import app
from tests.conftest import MakeSettings
from tests.support import events, kafka_log
from tests.support.commands import ddor
from tests.support.in_process import running
from tests.support.kafka_log import Message
from tests.support.positions import Connection
from tests.support.publishing import new_week, publishing

ISSUED = "detainer-issued"
MOVED = "32031"


def _address(where: tuple[str, int, int]) -> str:
    return "/".join(map(str, where))


async def test_each_outcome_of_a_record_has_its_sentence(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    gone = {"withdrawn": True, "withdrawn_reason": "wrong-person"}
    messages = [
        events.message("issued", events.issued(1)),
        events.message("issued", events.issued(1)),
        events.message("issued", events.issued(1, version=2, jurisdiction=MOVED)),
        events.message("issued", events.issued(2)),
        events.message("issued", events.issued(2, jurisdiction=MOVED)),
        events.message("issued", events.issued(3)),
        events.message("issued", events.issued(3, version=2, **gone)),
        Message(ISSUED, b"not json", partition=0),
    ]
    async with running(app.create(settings(worker="one"))):
        where = [_address(one) for one in await kafka_log.append(kafka.bootstrap, messages)]
        await kafka_log.counted(connection, kafka.bootstrap)
    unread = _address((await kafka_log.append(kafka.bootstrap, messages[:1]))[0])
    sentences = {address: (await ddor(settings(), "trace", address)).out for address in [*where, unread]}
    first, again, amended, one, other, _, withdrawn, junk = where

    assert f"superseded by version 2 at {amended}" in sentences[first]
    assert "in no published report" in sentences[first]
    assert f"duplicate of {first}" in sentences[again]
    assert f"superseded by version 2 at {amended}" in sentences[again]
    assert f"counted in week 2017-01-28 for {MOVED}" in sentences[amended]
    assert f"conflicting with {other}" in sentences[one]
    assert f"conflicting with {one}" in sentences[other]
    assert sorted("counted in week" in sentences[address] for address in (one, other)) == [False, True]
    assert sorted("superseded by version 1" in sentences[address] for address in (one, other)) == [False, True]
    assert "withdrawn, in no count" in sentences[withdrawn]
    assert sentences[junk].strip() == f"{junk}: rejected, not-json: {await _detail(connection)}"
    assert f"{unread}: not read yet; the position is " in sentences[unread]


async def test_a_detainer_is_shown_with_all_its_versions(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    messages = [
        events.message("issued", events.issued(1)),
        events.message("issued", events.issued(1, version=2, jurisdiction=MOVED)),
        events.message("declined", events.declined(1)),
    ]
    async with running(app.create(settings(worker="one"))):
        where = [_address(one) for one in await kafka_log.append(kafka.bootstrap, messages)]
        await kafka_log.counted(connection, kafka.bootstrap)
    done = await ddor(settings(), "trace", events.detainer_id(1).upper())
    assert done.exit_code == 0
    lines = done.out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "issued, agency ice-las-vegas",
        "declined, agency ice-las-vegas",
    ]
    assert [line.split(":")[0].strip() for line in lines if line.startswith(" ")] == [
        f"version 2 at {where[1]}",
        f"version 1 at {where[0]}",
        f"version 1 at {where[2]}",
    ]


async def test_unknown_records_and_detainers_are_reported(settings: MakeSettings) -> None:
    unknown = await ddor(settings(), "trace", events.detainer_id(1))
    assert (unknown.exit_code, "no fact" in unknown.err) == (1, True)
    for wrong in ("Clark County", "report-ready/0/1", f"{ISSUED}/1"):
        done = await ddor(settings(), "trace", wrong)
        assert done.exit_code == 2, done
        assert done.out == ""
    beyond = await ddor(settings(), "trace", f"{ISSUED}/0/{10**9}")
    assert (beyond.exit_code, beyond.out) == (1, "")
    assert f"there is no such record; the log of {ISSUED}/0 ends at " in beyond.err
    nowhere = await ddor(settings(), "trace", f"{ISSUED}/99/0")
    assert (nowhere.exit_code, nowhere.out) == (2, "")
    assert f"{ISSUED} has no partition 99: it has 12, 0 to 11" in nowhere.err


async def test_transaction_markers_and_aborted_records_are_not_records(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    message = Message(ISSUED, events.message("issued", events.issued(1)).value, b"key", 0)
    async with running(app.create(settings(worker="one"))):
        async with kafka_log.producer(kafka.bootstrap, transactional_id="a-trace") as producer:
            async with producer.transaction():
                ((topic, number, first),) = await kafka_log.send(producer, [message])
            await producer.begin_transaction()
            await kafka_log.send(producer, [message])
            await producer.abort_transaction()
        await kafka_log.counted(connection, kafka.bootstrap)
    for offset, word in (
        (first, "counted in week"),
        (first + 1, "no record at this offset"),
        (first + 2, "no record at this offset"),
    ):
        done = await ddor(settings(), "trace", f"{topic}/{number}/{offset}")
        assert (done.exit_code, word in done.out) == (0, True), done


async def test_after_a_report_each_fact_names_the_revisions_that_counted_it(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    week = new_week()
    at = (week.begins_at + timedelta(days=2)).isoformat()
    chosen = settings(worker="one", first_week=week.first)
    messages = [
        events.message("issued", events.issued(1, issued_at=at)),
        events.message("issued", events.issued(2, issued_at=at, withdrawn=True, withdrawn_reason="wrong-person")),
        events.message("issued", events.issued(3, issued_at=at)),
    ]
    late = [
        events.message("issued", events.issued(3, issued_at=at, version=2, jurisdiction=MOVED)),
        events.message("issued", events.issued(4, issued_at=at)),
    ]
    where = await kafka_log.append(kafka.bootstrap, messages)
    async with running(app.create(chosen)):
        await kafka_log.counted(connection, kafka.bootstrap)
        async with publishing(chosen, week.ends_at + timedelta(hours=25)) as publisher:
            await publisher.steps()
        where += await kafka_log.append(kafka.bootstrap, late)
        await kafka_log.counted(connection, kafka.bootstrap)
    sentences = [(await ddor(chosen, "trace", _address(one))).out for one in where]
    revision = f"; in {week} revision 1"
    assert sentences[0].rstrip().endswith(f"counted in week {week} for 32003{revision}")
    assert sentences[1].rstrip().endswith("withdrawn, in no count; in no published report")
    assert f"superseded by version 2 at {_address(where[3])}{revision}" in sentences[2], "counted in that revision"
    assert sentences[3].rstrip().endswith(f"counted in week {week} for {MOVED}; in no published report")
    assert sentences[4].rstrip().endswith("in no published report")


async def _detail(connection: Connection) -> str:
    return str(await connection.fetchval("SELECT detail FROM rejected"))
