"""Invalid records: a row with the reason, no personal data stored, and no other record lost."""

from __future__ import annotations

import hashlib
import json

from deploy.local.parts import KafkaPart
from schemas.rejected import DetainerRejected
from services.aggregator import app
from tests.conftest import MakeSettings
from tests.support import database_outcome, events, kafka_log, model
from tests.support.batches import accepted
from tests.support.in_process import is_ready, running
from tests.support.kafka_log import Message
from tests.support.positions import Connection, accounts
from tests.support.waiting import until

ISSUED = "detainer-issued"
BAD_HEADER = [("content-type", b"\xff\xfe\x00"), ("", b"")]
A_NUMBER = "A987654321"
NAME = "Doe"


def _with(**changes: object) -> bytes:
    return events.encoded(events.envelope("issued", events.issued(1, **changes)))


# Name: the record, the reason and field of its rejection, and whether its bytes are stored.
POISON = {
    "not JSON": (Message(ISSUED, b"not json"), "not-json", None, False),
    "a null value": (Message(ISSUED, None, b"key"), "no-value", None, False),
    "no value, no key, bytes for headers": (Message(ISSUED, b"", headers=BAD_HEADER), "not-json", None, False),
    "broken UTF-8": (Message(ISSUED, b'{"type":"\xff"}'), "not-utf8", None, False),
    "a list": (Message(ISSUED, b"[]", b"\xff\x00key"), "not-json", None, False),
    "two of one name": (Message(ISSUED, b'{"type":1,"type":2}'), "duplicate-key", "type", False),
    "NaN": (Message(ISSUED, b'{"version":NaN}'), "not-a-number", None, False),
    "another topic's event": (
        Message(ISSUED, events.encoded(events.envelope("declined", events.declined(1)))), "wrong-topic", "type", False,
    ),
    "an unknown jurisdiction": (
        Message(ISSUED, _with(jurisdiction="32999")), "unknown-jurisdiction", "data.jurisdiction", True,
    ),
    "a naive timestamp": (
        Message(ISSUED, _with(issued_at="2017-01-30T12:00:00")), "naive-timestamp", "data.issued_at", False,
    ),
    "a state's code for a county": (
        Message(ISSUED, _with(jurisdiction="32")), "operator-misfit", "data.operator", True,
    ),
    "a name for a country": (Message(ISSUED, _with(citizenship=NAME)), "unknown-code", "data.citizenship", False),
    "an unknown jurisdiction and a name": (
        Message(ISSUED, _with(location="32999", facility=NAME)), "unknown-jurisdiction", "data.location", False,
    ),
    "an A-number": (Message(ISSUED, _with(facility=A_NUMBER)), "a-number", "data.facility", False),
    "an unknown field": (Message(ISSUED, _with(last_name=NAME)), "unknown-field", "data.last_name", False),
    "a NUL": (Message(ISSUED, _with(facility="AB\x00C")), "control-character", "data.facility", False),
    "one event too large": (Message(ISSUED, b" " * 20_000), "too-large", None, False),
    "deeper than any event": (Message(ISSUED, b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"), "not-json", None, False),
}  # fmt: skip


async def test_invalid_records_become_rows_with_the_reason_and_no_other_record_is_lost(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    good = [events.message("issued", events.issued(number)) for number in range(len(POISON))]
    mixed = [one for pair in zip(good, (poison for poison, *_ in POISON.values()), strict=True) for one in pair]
    async with running(app.create(settings(worker="one"))) as client:
        await until(lambda: is_ready(client), "the aggregator ready")
        where = (await kafka_log.append(kafka.bootstrap, mixed))[1::2]
        await kafka_log.counted(connection, kafka.bootstrap)
        assert await is_ready(client)
    rows = await connection.fetch("SELECT * FROM rejected")
    rejected = {(row["topic"], row["partition"], row["kafka_offset"]): row for row in rows}
    assert rejected.keys() == set(where)
    for address, (name, (poison, reason, field, _)) in zip(where, POISON.items(), strict=True):
        row = rejected[address]
        assert (row["reason"], row["field"]) == (reason, field), name
        assert row["sha256"] == hashlib.sha256(poison.value or b"").digest(), name
        assert row["detail"], name
    assert await database_outcome.outcome(connection) == model.outcome(accepted(good))
    for account in (await accounts(connection)).values():
        assert account["records"] == account["facts"] + account["duplicates"] + account["rejected"]


async def test_no_rejected_value_is_in_a_detail_and_personal_data_are_not_stored(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    async with running(app.create(settings(worker="one"))):
        where = await kafka_log.append(kafka.bootstrap, [poison for poison, *_ in POISON.values()])
        await kafka_log.counted(connection, kafka.bootstrap)
    rows = [dict(row) for row in await connection.fetch("SELECT reason, field, detail FROM rejected")]
    for secret in (A_NUMBER, NAME, "2017-01-30", "32999", events.detainer_id(1)):
        assert secret not in json.dumps(rows)
    raw = {
        (row["topic"], row["partition"], row["kafka_offset"]): row["value"]
        for row in await connection.fetch("SELECT * FROM rejected_raw")
    }
    expected = {
        address: poison.value
        for address, (poison, _, _, storable) in zip(where, POISON.values(), strict=True)
        if storable
    }
    assert raw == expected


async def test_each_reject_is_one_notice_for_the_topic_of_rejects(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    """The same transaction writes the notice to the outbox: address, reason and digest, but no content."""
    async with running(app.create(settings(worker="one"))):
        where = await kafka_log.append(kafka.bootstrap, [poison for poison, *_ in POISON.values()])
        await kafka_log.counted(connection, kafka.bootstrap)
    notices = [
        DetainerRejected.model_validate_json(row["value"])
        for row in await connection.fetch("SELECT value FROM outbox WHERE topic = 'detainer-rejected'")
    ]
    by_address = {(one.data.topic, one.data.partition, one.data.offset): one for one in notices}
    assert (len(notices), set(by_address)) == (len(POISON), set(where))
    for address, (poison, reason, field, _) in zip(where, POISON.values(), strict=True):
        assert (by_address[address].data.reason, by_address[address].data.field) == (reason, field)
        assert by_address[address].data.sha256 == hashlib.sha256(poison.value or b"").hexdigest()
        assert by_address[address].id == "/".join(map(str, address))


async def test_a_valid_event_counts_whatever_its_key_and_headers(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    """Acceptance is a function of the value: a foreign producer's key or headers do not matter."""
    values = [events.message("issued", events.issued(number)).value for number in range(4)]
    messages = [
        Message(ISSUED, values[0], None, 0, headers=BAD_HEADER),
        Message(ISSUED, values[1], b"\xff\xfe", 1, headers=BAD_HEADER),
        Message(ISSUED, values[2], b"somebody else's", 2),
        Message(ISSUED, values[3], b"", 3, headers=[("content-type", b"text/plain")]),
    ]
    async with running(app.create(settings(worker="one"))):
        await kafka_log.append(kafka.bootstrap, messages)
        await kafka_log.counted(connection, kafka.bootstrap)
    assert await database_outcome.outcome(connection) == model.outcome(accepted(messages))
    assert len(accepted(messages)) == 4


async def test_a_batch_of_only_invalid_records_moves_the_positions(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    async with running(app.create(settings(worker="one"))), kafka_log.producer(kafka.bootstrap) as producer:
        await kafka_log.send(producer, [Message(ISSUED, b"{", partition=n % 12) for n in range(300)])
        await kafka_log.counted(connection, kafka.bootstrap)
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 300
    assert await connection.fetchval("SELECT sum(rejected) FROM partition_position") == 300
