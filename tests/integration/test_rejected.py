"""`ddor rejected`: list, show, send again once, and delete; personal data are never stored."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import structlog.testing
from pydantic import SecretStr
from rich.console import Console

from deploy.local.parts import KafkaPart
from schemas.log import Partition, RecordAddress
from services.aggregator import app, retention
from services.aggregator.queries import SQL
from services.cli import addresses, rejected
from tests.conftest import MakeSettings
from tests.support import database_outcome, events, kafka_log, model
from tests.support.batches import accepted
from tests.support.commands import ddor
from tests.support.in_process import running
from tests.support.kafka_log import Message
from tests.support.positions import Connection
from tests.support.publishing import Hands
from tests.support.waiting import until

ISSUED = "detainer-issued"
SPOILT = "32999"
PERSONAL = "A987654321"


def _event(number: int, **changes: Any) -> Message:
    one = events.message("issued", events.issued(number, **changes))
    return Message(one.topic, one.value, one.key, headers=events.HEADERS)


async def _reject(settings: MakeSettings, connection: Connection, kafka: KafkaPart, *messages: Message) -> list[str]:
    """Write records and count them. Returns their addresses."""
    where = await kafka_log.append(kafka.bootstrap, messages)
    await _count(settings, connection, kafka)
    return ["/".join(map(str, one)) for one in where]


async def _count(settings: MakeSettings, connection: Connection, kafka: KafkaPart) -> None:
    async with running(app.create(settings(worker="one"))):
        await kafka_log.counted(connection, kafka.bootstrap)


async def _purged(logs: Sequence[Mapping[str, Any]]) -> list[int]:
    return [one["rows"] for one in logs if one["event"] == "rejects-purged"]


async def test_rejects_are_listed_by_reason_and_shown_with_their_bytes(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    none = await ddor(settings(), "rejected", "list")
    assert (none.exit_code, none.out.strip()) == (0, "none")
    one, personal = await _reject(
        settings, connection, kafka, _event(1, jurisdiction=SPOILT), _event(2, facility=PERSONAL)
    )
    listed = await ddor(settings(), "rejected", "list")
    assert one in listed.out
    assert personal in listed.out
    by_reason = await ddor(settings(), "rejected", "list", "--reason", "a-number")
    assert (one in by_reason.out, personal in by_reason.out) == (False, True)
    shown = await ddor(settings(), "rejected", "show", one)
    assert f'"jurisdiction":"{SPOILT}"' in shown.out
    assert "unknown-jurisdiction" in shown.out
    hidden = await ddor(settings(), "rejected", "show", personal)
    assert "not stored: may contain personal data" in hidden.out
    for done in (listed, hidden):
        assert PERSONAL not in done.out
    fine = await ddor(settings(), "rejected", "show", f"{ISSUED}/0/0")
    assert (fine.exit_code, "was not rejected" in fine.err) == (1, True)


async def test_the_address_in_a_list_is_whole_in_a_narrow_terminal(
    settings: MakeSettings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = RecordAddress(Partition("detainer-declined", 11), 123_456_789_012)
    await connection.execute(
        "INSERT INTO rejected (topic, partition, kafka_offset, reason, field, detail, sha256, redriven_to)"
        " VALUES ($1, $2, $3, 'unknown-jurisdiction', 'data.jurisdiction', 'is not in any edition [of it]', '', $4)",
        longest.partition.topic, longest.partition.number, longest.offset, str(longest),
    )  # fmt: skip
    (line,) = (await ddor(settings(), "rejected", "list")).out.splitlines()
    assert addresses.record(line.split()[0]) == addresses.record(line.split()[-1]) == longest
    assert (await ddor(settings(), "rejected", "show", line.split()[0])).exit_code == 0
    screen = io.StringIO()
    monkeypatch.setattr(rejected, "out", Console(file=screen, width=20, force_terminal=True, markup=False))
    monkeypatch.setattr("services.cli.rejected.settings.load", settings)
    await rejected._list(None, 50)
    assert screen.getvalue() == f"{line}\n"


async def test_a_redriven_record_counts_once_and_redriving_it_again_does_nothing(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    """The record is valid. It was rejected because of a defect that is corrected now."""
    await connection.execute("ALTER TABLE ledger_entry ADD CONSTRAINT planted CHECK (jurisdiction <> '32003')")
    (address,) = await _reject(settings, connection, kafka, _event(1))
    assert await connection.fetchval("SELECT reason FROM rejected") == "internal_error"
    await connection.execute("ALTER TABLE ledger_entry DROP CONSTRAINT planted")
    done = await ddor(settings(), "rejected", "redrive", address, "--by", "a.smith")
    assert done.exit_code == 0, done
    again = done.out.strip().removeprefix(f"{address}: sent again as ")
    await _count(settings, connection, kafka)
    assert await database_outcome.outcome(connection) == model.outcome(accepted([_event(1)]))

    twice = await ddor(settings(), "rejected", "redrive", address, "--by", "a.smith")
    assert (twice.exit_code, f"was already redriven as {again}; nothing done" in twice.out) == (0, True)
    await ddor(settings(), "rejected", "redrive", "--reason", "internal_error", "--by", "a.smith")
    await _count(settings, connection, kafka)
    assert await connection.fetchval("SELECT n FROM weekly_counter") == 1
    assert await connection.fetchval("SELECT sum(records) FROM partition_position") == 2
    (action,) = await connection.fetch("SELECT by, action, subject, detail FROM operator_action")
    assert tuple(action) == ("a.smith", "redrive", address, {"to": again})
    topic, number, offset = again.split("/")
    (record,) = await kafka_log.read(kafka.bootstrap, topic, int(number), int(offset))
    assert json.loads(record.value or b"")["redriveof"] == address
    assert (await ddor(settings(), "trace", address)).out.rstrip().endswith(f"; redriven as {again}")


async def test_all_records_of_one_reason_are_redriven_from_the_log_after_their_bytes_are_deleted(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    await connection.execute("ALTER TABLE ledger_entry ADD CONSTRAINT planted CHECK (jurisdiction <> '32003')")
    messages = [_event(number) for number in range(3)]
    await _reject(settings, connection, kafka, *messages, _event(4, jurisdiction=SPOILT))
    await connection.execute("ALTER TABLE ledger_entry DROP CONSTRAINT planted")
    await connection.execute("DELETE FROM rejected_raw")
    done = await ddor(settings(), "rejected", "redrive", "--reason", "internal_error", "--by", "a.smith")
    assert (done.exit_code, done.out.count("sent again as")) == (0, 3)
    await _count(settings, connection, kafka)
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 4
    assert await database_outcome.outcome(connection) == model.outcome(accepted(messages))


async def test_records_that_are_still_invalid_or_not_in_the_log_are_not_redriven(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    personal, junk, other = await _reject(
        settings, connection, kafka,
        _event(1, facility=PERSONAL), Message(ISSUED, b"not json", partition=1), _event(2, jurisdiction=SPOILT),
    )  # fmt: skip
    await connection.execute("UPDATE rejected SET sha256 = sha256('another') WHERE reason = 'unknown-jurisdiction'")
    ends = await kafka_log.ends(kafka.bootstrap)
    done = await ddor(settings(), "rejected", "redrive", personal, junk, other, "--by", "a.smith")
    assert done.exit_code == 1
    assert f"{personal}: not sent: still invalid, a-number" in done.out
    assert f"{junk}: not sent: still invalid, not-json" in done.out
    assert f"{other}: not sent: the log no longer contains it" in done.out
    assert await kafka_log.ends(kafka.bootstrap) == ends
    assert await connection.fetchval("SELECT count(*) FROM operator_action") == 0
    both = await ddor(settings(), "rejected", "redrive", junk, "--reason", "not-json", "--by", "a.smith")
    assert both.exit_code == 2


async def test_an_attestation_of_an_invalid_week_is_not_redriven(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    """The event is valid, but the aggregator would reject its week again. A calendar with the week allows it."""
    sunday = events.attesting(events.attested("2017-01-29", issued=1, declined=0))
    (address,) = await _reject(settings, connection, kafka, sunday)
    ends = await kafka_log.ends(kafka.bootstrap)
    again = ("rejected", "redrive", "--reason", "not-a-week", "--by", "a.smith")
    done = await ddor(settings(), *again)
    assert (done.exit_code, f"{address}: not sent: still invalid, not-a-week" in done.out) == (1, True), done
    assert await kafka_log.ends(kafka.bootstrap) == ends
    done = await ddor(settings(), *again, DDOR_WEEK_STARTS_ON="sunday")
    assert (done.exit_code, f"{address}: sent again as week-attested/0/" in done.out) == (0, True), done


async def test_an_aggregator_deletes_stored_bytes_after_90_days(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    await _reject(settings, connection, kafka, _event(1, jurisdiction=SPOILT))
    kept_until: datetime = await connection.fetchval("SELECT kept_until FROM rejected_raw")
    assert timedelta(days=89) < kept_until - datetime.now(UTC) <= timedelta(days=90)
    over = "UPDATE rejected_raw SET kept_until = kept_until - interval '90 days 1 second'"
    for now, statement, rows in (
        (kept_until, None, 0),  # this host's clock is three months ahead
        (kept_until - timedelta(days=90, minutes=1), over, 0),  # this host's clock is behind
        (datetime.now(UTC) + timedelta(hours=1), None, 1),
    ):
        if statement is not None:
            await connection.execute(statement)
        with structlog.testing.capture_logs() as logs:
            async with running(app.create(settings(worker="one"), Hands(now))):
                await until(partial(_purged, logs), "the purge at the start")
        assert await _purged(logs) == [rows]
        assert await connection.fetchval("SELECT count(*) FROM rejected_raw") == 1 - rows
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 1


async def test_many_rows_are_deleted_in_bounded_statements_and_locked_rows_are_skipped(
    store_settings: MakeSettings, connection: Connection
) -> None:
    now = datetime.now(UTC)
    await connection.execute(
        "INSERT INTO rejected_raw (topic, partition, kafka_offset, value, kept_until)"
        " SELECT 'detainer-issued', 0, n, 'x', $1::timestamptz - interval '1 s' * n FROM generate_series(-5, $2) AS n",
        now, 2 * retention.MAX_ROWS,
    )  # fmt: skip
    statements: list[str] = []
    connection.add_query_logger(lambda record: statements.append(record.query))
    async with kafka_log.connected(store_settings()) as other, other.transaction():
        assert await other.execute(SQL["purge"], now, 1) == "DELETE 1"
        assert await retention.purge(connection, now) == 2 * retention.MAX_ROWS
    assert statements.count(SQL["purge"]) == 3
    assert await connection.fetchval("SELECT count(*) FROM rejected_raw") == 5, "rows that expire tomorrow"


async def test_deletion_runs_once_a_day_and_sooner_after_a_failure(store_settings: MakeSettings) -> None:
    chosen, waits = store_settings(), [retention.DAY_SECONDS, retention.DAY_SECONDS, retention.RETRY_SECONDS]
    nobody = chosen.model_copy(update={"postgres_dsn": SecretStr("postgresql://nobody@127.0.0.1:1/none")})
    waited: list[float] = []

    class Enough(Exception):  # noqa: N818
        pass

    async def pause(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) % 2 == 0 or seconds == retention.RETRY_SECONDS:
            raise Enough

    for settings in (chosen, nobody):
        with pytest.raises(Enough):
            await retention.run(settings, lambda: datetime.now(UTC), pause)
    assert waited == waits


async def test_purge_deletes_old_bytes_and_keeps_the_reason(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    old, new = await _reject(
        settings, connection, kafka, _event(1, jurisdiction=SPOILT), _event(2, jurisdiction=SPOILT)
    )
    await connection.execute(
        "UPDATE rejected_raw SET kept_until = now() - interval '1 minute' WHERE value = $1",
        _event(1, jurisdiction=SPOILT).value,
    )
    done = await ddor(settings(), "rejected", "purge", "--by", "a.smith")
    assert (done.exit_code, done.out.strip()) == (0, "1 deleted")
    assert "deleted after 90 days" in (await ddor(settings(), "rejected", "show", old)).out
    assert SPOILT in (await ddor(settings(), "rejected", "show", new)).out
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 2
    (action,) = await connection.fetch("SELECT by, action, detail FROM operator_action")
    assert tuple(action) == ("a.smith", "purge", {"rows": 1})
