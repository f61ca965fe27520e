"""`ddor rejected`: look, send again once, delete when the time is over; and what is personal was never kept."""

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
from services.aggregator import app, retention
from services.aggregator.leases import Partition
from services.aggregator.store import SQL
from services.cli import places, rejects
from services.cli.places import Place
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


async def _reject(settings: MakeSettings, connection: Connection, kafka: KafkaPart, *told: Message) -> list[str]:
    """Write records, count them, and say where they are."""
    where = await kafka_log.append(kafka.bootstrap, told)
    await _count(settings, connection, kafka)
    return ["/".join(map(str, one)) for one in where]


async def _count(settings: MakeSettings, connection: Connection, kafka: KafkaPart) -> None:
    async with running(app.create(settings(worker="one"))):
        await kafka_log.counted(connection, kafka.bootstrap)


async def _purged(said: Sequence[Mapping[str, Any]]) -> list[int]:
    return [one["rows"] for one in said if one["event"] == "rejects-purged"]


async def test_they_are_listed_by_reason_and_shown_with_what_was_kept(
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
    assert "not kept: it may hold personal data" in hidden.out
    for said in (listed, hidden):
        assert PERSONAL not in said.out
    fine = await ddor(settings(), "rejected", "show", f"{ISSUED}/0/0")
    assert (fine.exit_code, "was not rejected" in fine.err) == (1, True)


async def test_the_place_in_a_list_can_be_given_to_other_commands_however_narrow_the_terminal_is(
    settings: MakeSettings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = Place(Partition("detainer-declined", 11), 123_456_789_012)
    await connection.execute(
        "INSERT INTO rejected (topic, partition, kafka_offset, reason, field, detail, sha256, redriven_to)"
        " VALUES ($1, $2, $3, 'unknown-jurisdiction', 'data.jurisdiction', 'is not in any edition [of it]', '', $4)",
        longest.partition.topic, longest.partition.number, longest.offset, str(longest),
    )  # fmt: skip
    (line,) = (await ddor(settings(), "rejected", "list")).out.splitlines()
    assert places.place(line.split()[0]) == places.place(line.split()[-1]) == longest
    assert (await ddor(settings(), "rejected", "show", line.split()[0])).exit_code == 0
    screen = io.StringIO()
    monkeypatch.setattr(rejects, "out", Console(file=screen, width=20, force_terminal=True))
    monkeypatch.setattr("services.cli.rejects.settings.load", settings)
    await rejects._list(None, 50)
    assert screen.getvalue() == f"{line}\n"


async def test_a_redriven_record_counts_once_and_redriving_it_again_does_nothing(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    """Rejected by a defect of ours, which is mended: the record itself was in order."""
    await connection.execute("ALTER TABLE ledger_entry ADD CONSTRAINT planted CHECK (jurisdiction <> '32003')")
    (place,) = await _reject(settings, connection, kafka, _event(1))
    assert await connection.fetchval("SELECT reason FROM rejected") == "internal_error"
    await connection.execute("ALTER TABLE ledger_entry DROP CONSTRAINT planted")
    said = await ddor(settings(), "rejected", "redrive", place, "--by", "a.smith")
    assert said.exit_code == 0, said
    again = said.out.strip().removeprefix(f"{place}: sent again as ")
    await _count(settings, connection, kafka)
    assert await database_outcome.outcome(connection) == model.outcome(accepted([_event(1)]))

    twice = await ddor(settings(), "rejected", "redrive", place, "--by", "a.smith")
    assert (twice.exit_code, f"was redriven already, as {again}; nothing done" in twice.out) == (0, True)
    await ddor(settings(), "rejected", "redrive", "--reason", "internal_error", "--by", "a.smith")
    await _count(settings, connection, kafka)
    assert await connection.fetchval("SELECT n FROM weekly_counter") == 1
    assert await connection.fetchval("SELECT sum(records) FROM partition_position") == 2
    (action,) = await connection.fetch("SELECT by, action, subject, detail FROM operator_action")
    assert tuple(action) == ("a.smith", "redrive", place, {"to": again})
    topic, number, offset = again.split("/")
    (record,) = await kafka_log.read(kafka.bootstrap, topic, int(number), int(offset))
    assert json.loads(record.value or b"")["redriveof"] == place
    assert (await ddor(settings(), "trace", place)).out.rstrip().endswith(f"; redriven as {again}")


async def test_all_of_one_reason_are_redriven_from_the_log_though_their_bytes_are_kept_no_longer(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    await connection.execute("ALTER TABLE ledger_entry ADD CONSTRAINT planted CHECK (jurisdiction <> '32003')")
    told = [_event(number) for number in range(3)]
    await _reject(settings, connection, kafka, *told, _event(4, jurisdiction=SPOILT))
    await connection.execute("ALTER TABLE ledger_entry DROP CONSTRAINT planted")
    await connection.execute("DELETE FROM rejected_raw")
    said = await ddor(settings(), "rejected", "redrive", "--reason", "internal_error", "--by", "a.smith")
    assert (said.exit_code, said.out.count("sent again as")) == (0, 3)
    await _count(settings, connection, kafka)
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 4
    assert await database_outcome.outcome(connection) == model.outcome(accepted(told))


async def test_what_is_still_no_event_or_no_longer_on_the_log_is_not_redriven(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    personal, junk, other = await _reject(
        settings, connection, kafka,
        _event(1, facility=PERSONAL), Message(ISSUED, b"not json", partition=1), _event(2, jurisdiction=SPOILT),
    )  # fmt: skip
    await connection.execute("UPDATE rejected SET sha256 = sha256('another') WHERE reason = 'unknown-jurisdiction'")
    ends = await kafka_log.ends(kafka.bootstrap)
    said = await ddor(settings(), "rejected", "redrive", personal, junk, other, "--by", "a.smith")
    assert said.exit_code == 1
    assert f"{personal}: is still no event, so it is not sent: a-number" in said.out
    assert f"{junk}: is still no event, so it is not sent: not-json" in said.out
    assert f"{other}: the log no longer has it" in said.out
    assert await kafka_log.ends(kafka.bootstrap) == ends
    assert await connection.fetchval("SELECT count(*) FROM operator_action") == 0
    both = await ddor(settings(), "rejected", "redrive", junk, "--reason", "not-json", "--by", "a.smith")
    assert both.exit_code == 2


async def test_an_attestation_of_what_is_still_no_week_is_not_redriven(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    """The event is in order; the aggregator would reject it again for its week. Once weeks begin then, it is sent."""
    sunday = events.attesting(events.attested("2017-01-29", issued=1, declined=0))
    (place,) = await _reject(settings, connection, kafka, sunday)
    ends = await kafka_log.ends(kafka.bootstrap)
    again = ("rejected", "redrive", "--reason", "not-a-week", "--by", "a.smith")
    said = await ddor(settings(), *again)
    assert (said.exit_code, f"{place}: is still no event, so it is not sent: not-a-week" in said.out) == (1, True), said
    assert await kafka_log.ends(kafka.bootstrap) == ends
    said = await ddor(settings(), *again, DDOR_WEEK_STARTS_ON="sunday")
    assert (said.exit_code, f"{place}: sent again as week-attested/0/" in said.out) == (0, True), said


async def test_an_aggregator_deletes_bytes_whose_90_days_are_over_by_itself(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    await _reject(settings, connection, kafka, _event(1, jurisdiction=SPOILT))
    kept_until: datetime = await connection.fetchval("SELECT kept_until FROM rejected_raw")
    assert timedelta(days=89) < kept_until - datetime.now(UTC) <= timedelta(days=90)
    for now, rows in ((kept_until - timedelta(seconds=1), 0), (kept_until, 1)):
        with structlog.testing.capture_logs() as said:
            async with running(app.create(settings(worker="one"), Hands(now))):
                await until(partial(_purged, said), "the purge at the start")
        assert await _purged(said) == [rows]
        assert await connection.fetchval("SELECT count(*) FROM rejected_raw") == 1 - rows
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 1


async def test_many_are_deleted_in_bounded_statements_and_what_others_delete_is_left_to_them(
    store_settings: MakeSettings, connection: Connection
) -> None:
    now = datetime.now(UTC)
    await connection.execute(
        "INSERT INTO rejected_raw (topic, partition, kafka_offset, value, kept_until)"
        " SELECT 'detainer-issued', 0, n, 'x', $1::timestamptz - interval '1 s' * n FROM generate_series(-5, $2) AS n",
        now, 2 * retention.MOST,
    )  # fmt: skip
    statements: list[str] = []
    connection.add_query_logger(lambda said: statements.append(said.query))
    async with kafka_log.connected(store_settings()) as other, other.transaction():
        assert await other.execute(SQL["purge"], now, 1) == "DELETE 1"
        assert await retention.purge(connection, now) == 2 * retention.MOST
    assert statements.count(SQL["purge"]) == 3
    assert await connection.fetchval("SELECT count(*) FROM rejected_raw") == 5, "those of tomorrow"


async def test_it_is_done_once_a_day_and_sooner_after_a_failure(store_settings: MakeSettings) -> None:
    chosen, waits = store_settings(), [retention.DAY_SECONDS, retention.DAY_SECONDS, retention.AGAIN_SECONDS]
    nobody = chosen.model_copy(update={"postgres_dsn": SecretStr("postgresql://nobody@127.0.0.1:1/none")})
    waited: list[float] = []

    class Enough(Exception):  # noqa: N818
        pass

    async def pause(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) % 2 == 0 or seconds == retention.AGAIN_SECONDS:
            raise Enough

    for settings in (chosen, nobody):
        with pytest.raises(Enough):
            await retention.run(settings, lambda: datetime.now(UTC), pause)
    assert waited == waits


async def test_bytes_whose_time_is_over_are_deleted_and_the_reason_stays(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    old, new = await _reject(
        settings, connection, kafka, _event(1, jurisdiction=SPOILT), _event(2, jurisdiction=SPOILT)
    )
    await connection.execute(
        "UPDATE rejected_raw SET kept_until = now() - interval '1 minute' WHERE value = $1",
        _event(1, jurisdiction=SPOILT).value,
    )
    said = await ddor(settings(), "rejected", "purge", "--by", "a.smith")
    assert (said.exit_code, said.out.strip()) == (0, "1 deleted")
    assert "its time is over" in (await ddor(settings(), "rejected", "show", old)).out
    assert SPOILT in (await ddor(settings(), "rejected", "show", new)).out
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 2
    (action,) = await connection.fetch("SELECT by, action, detail FROM operator_action")
    assert tuple(action) == ("a.smith", "purge", {"rows": 1})
