"""`ddor rejected`: look, send again once, delete when the time is over; and what is personal was never kept."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from deploy.local.parts import KafkaPart
from services.aggregator import app
from services.aggregator.leases import Partition
from services.cli import places, rejects
from services.cli.places import Place
from tests.conftest import MakeSettings
from tests.support import database_outcome, events, kafka_log, model
from tests.support.batches import accepted
from tests.support.commands import ddor
from tests.support.in_process import running
from tests.support.kafka_log import Message
from tests.support.positions import Connection

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
