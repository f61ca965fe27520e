"""`ddor rejected`: look at what was rejected, send it again, delete what was kept of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
import typer
from aiokafka import AIOKafkaProducer

from schemas.acceptance import Refused, accept_any
from schemas.attestation import Attestation
from schemas.topics import CONTENT_TYPE, partition_of
from schemas.week import WeekIndex
from services.aggregator import retention, tally
from services.aggregator.leases import Partition
from services.aggregator.log import Log
from services.aggregator.spans import digest
from services.cli import places
from services.cli.places import Place
from services.cli.resuming import SQL
from services.cli.terminal import FAILED, WRONG_USE, err, out, run
from services.runtime import kafka, postgres, settings

app = typer.Typer(help="Records that were no events: what, why, and sending them again.", no_args_is_help=True)

_PATIENCE = 30.0
"""Seconds for Kafka to take a record; what was given up may still be written, and counts once."""
_ENDING = 5.0
"""Seconds for the producer to end; one that has given a record up would go on trying to send it."""
Where = Annotated[str, typer.Argument(help="topic/partition/offset of the rejected record.")]
By = Annotated[str, typer.Option("--by", help="Who decides; kept in operator_action.")]


@app.command("list")
def list_rejects(
    reason: Annotated[str | None, typer.Option(help="Only these.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The newest so many.")] = 50,
) -> None:
    """List rejected records, newest first."""
    run(_list(reason, limit))


@app.command()
def show(where: Where) -> None:
    """Show one reject, and its bytes if they were kept. For operators: the bytes may hold anything."""
    run(_show(places.place(where)))


@app.command()
def redrive(
    by: By,
    where: Annotated[list[str] | None, typer.Argument(help="topic/partition/offset, one or more.")] = None,
    reason: Annotated[str | None, typer.Option(help="All that were rejected for this reason.")] = None,
) -> None:
    """Send rejected records again, as the log has them, each as a new record. Doing it twice does nothing.

    What the rules of today refuse is not sent.
    """
    run(_redrive(by, where or [], reason))


@app.command()
def purge(by: By) -> None:
    """Delete the kept bytes of rejects whose time (90 days) is over, as aggregators do once a day. Reasons stay."""
    run(_purge(by))


async def _list(reason: str | None, limit: int) -> None:
    connection = await postgres.connect(settings.load(), "ddor-rejected")
    try:
        rows = await connection.fetch(SQL["rejects"], reason, limit)
    finally:
        await connection.close()
    for row in rows:
        out.print(_line(row), markup=False, highlight=False, soft_wrap=True)
    if not rows:
        out.print("none")


def _line(row: Mapping[str, Any]) -> str:
    """One reject on one line, its place first and never cut: other commands take it."""
    place = f"{row['topic']}/{row['partition']}/{row['kafka_offset']}"
    why = f"{row['reason']:20}  {row['field'] or '-'}: {row['detail']}"
    again = f"; redriven as {row['redriven_to']}" if row["redriven_to"] else ""
    return f"{place:24}  {row['rejected_at']:%Y-%m-%d %H:%M:%S}Z  {why}{again}"


async def _show(place: Place) -> int:
    connection = await postgres.connect(settings.load(), "ddor-rejected")
    try:
        row = await connection.fetchrow(SQL["reject"], place.partition.topic, place.partition.number, place.offset)
    finally:
        await connection.close()
    if row is None:
        err.print(f"{place}: was not rejected")
        return FAILED
    for name in ("reason", "field", "detail", "rejected_at", "redriven_at", "redriven_to", "kept_until"):
        if row[name] is not None:
            out.print(f"{name:12} {row[name]}", markup=False, highlight=False, soft_wrap=True)
    out.print(f"{'sha256':12} {row['sha256'].hex()}", highlight=False, soft_wrap=True)
    kept = repr(row["value"]) if row["value"] else "not kept: it may hold personal data, or its time is over"
    out.print(f"{'value':12} {kept}", markup=False, highlight=False, soft_wrap=True)
    return 0


async def _redrive(by: str, where: list[str], reason: str | None) -> int:
    if bool(where) == (reason is not None):
        err.print("name records, or a --reason; not both")
        return WRONG_USE
    loaded = settings.load()
    async with AsyncExitStack() as stack:
        connection = await postgres.connect(loaded, "ddor-redrive")
        stack.push_async_callback(connection.close)
        log = Log(kafka.client(loaded, "ddor-redrive-log"))
        stack.push_async_callback(log.stop)
        await log.start()
        producer = AIOKafkaProducer(**kafka.client(loaded, "ddor-redrive"), acks="all", enable_idempotence=True)
        stack.push_async_callback(kafka.stop_producer, producer, _ENDING)
        await kafka.start(producer.start)
        chosen = [places.place(text) for text in where]
        if reason is not None:
            rows = await connection.fetch(SQL["rejects_to_redrive"], reason)
            chosen = [Place(Partition(row["topic"], row["partition"]), row["kafka_offset"]) for row in rows]
        weeks, code = WeekIndex(loaded.calendar), 0
        for place in chosen:
            try:
                done, sentence = await _redrive_one(connection, log, producer, place, weeks=weeks, by=by)
            except Exception:
                err.print(
                    f"{place}: is not known to be sent; those after it were not tried", highlight=False, soft_wrap=True
                )
                raise
            out.print(f"{place}: {sentence}", highlight=False, soft_wrap=True)
            code = code if done else FAILED
    return code


async def _redrive_one(
    connection: asyncpg.Connection[Any],
    log: Log,
    producer: AIOKafkaProducer,
    place: Place,
    *,
    weeks: WeekIndex,
    by: str,
) -> tuple[bool, str]:
    """Send one record again and mark it, under its row's lock.

    A crash between sending and marking may send it twice: both are the same fact, which counts once.
    """
    topic = place.partition.topic
    at = (topic, place.partition.number, place.offset)
    async with connection.transaction():
        row = await connection.fetchrow(SQL["lock_reject"], *at)
        if row is None:
            return False, "was not rejected"
        if row["redriven_to"] is not None:
            return True, f"was redriven already, as {row['redriven_to']}; nothing done"
        found, value = await log.record(place.partition, place.offset)
        if not found or digest(value) != row["sha256"]:
            return False, "the log no longer has it; ask the agency to send it again"
        try:
            accept_any(value, topic)
            again = _marked(value, place)
            event = accept_any(again, topic)
            if isinstance(event, Attestation):
                tally.check_week(event, weeks)
        except Refused as refused:
            return False, f"is still no event, so it is not sent: {refused.code}"
        key = event.key.encode()
        number = partition_of(key, len(await producer.partitions_for(topic)))
        headers = [("content-type", CONTENT_TYPE.encode())]
        async with asyncio.timeout(_PATIENCE):
            sent = await producer.send_and_wait(topic, value=again, key=key, partition=number, headers=headers)
        to = f"{topic}/{number}/{sent.offset}"
        await connection.execute(SQL["mark_redriven"], *at, to)
        await connection.execute(SQL["add_action"], by, "redrive", str(place), {"to": to})
    return True, f"sent again as {to}"


def _marked(value: bytes | None, place: Place) -> bytes:
    """The event with the extension `redriveof`."""
    event = json.loads(value or b"") | {"redriveof": str(place)}
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


async def _purge(by: str) -> None:
    connection = await postgres.connect(settings.load(), "ddor-purge")
    try:
        count = await retention.purge(connection, datetime.now(UTC))
        await connection.execute(SQL["add_action"], by, "purge", "rejected_raw", {"rows": count})
    finally:
        await connection.close()
    out.print(f"{count:,} deleted")
