"""`ddor rejected`: list and show rejected records, send them again, delete their stored bytes."""

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
from schemas.log import Partition, RecordAddress
from schemas.topics import CONTENT_TYPE, partition_of
from schemas.week import WeekIndex
from services.aggregator import decoding, retention
from services.aggregator.log_inspector import LogInspector
from services.aggregator.spans import digest
from services.cli import addresses
from services.cli.console import FAILED, WRONG_USE, err, impersonal, out, run
from services.cli.queries import SQL
from services.runtime import kafka, kafka_access, postgres, settings
from services.runtime.kafka_rights import WRITE_EVENTS

app = typer.Typer(help="List rejected records, send them again, or delete their stored bytes.", no_args_is_help=True)

_PATIENCE = 30.0
"""Time limit for Kafka to store a record, in seconds. A record may still be stored later; it counts once."""
_ENDING = 5.0
"""Time limit for stopping the producer, in seconds. After a timeout it would retry its record without end."""
_RECORD = "TOPIC/PARTITION/OFFSET"
By = Annotated[str, typer.Option("--by", callback=impersonal, help="Your name. Stored in the table operator_action.")]


@app.command("list")
def list_rejects(
    reason: Annotated[str | None, typer.Option(help="Filter by reason code, such as not-json.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of rows, newest first.")] = 50,
) -> None:
    """List rejected records, newest first: address, time, reason, field, detail."""
    run(_list(reason, limit))


@app.command()
def show(
    where: Annotated[str, typer.Argument(metavar=_RECORD, help="The rejected record, such as detainer-issued/3/1742.")],
) -> None:
    """Show one rejected record, with its bytes if they are stored.

    The bytes may contain anything. They are deleted after 90 days, and never stored if they may be personal data.
    """
    run(_show(where))


@app.command()
def redrive(
    by: By,
    where: Annotated[
        list[str] | None, typer.Argument(metavar=_RECORD, help="The records, such as detainer-issued/3/1742.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="All records that were rejected for this reason, such as internal_error.")
    ] = None,
) -> None:
    """Send rejected records again, each as a new record with the same content. A record is sent only once.

    Name the records or give a --reason. Correct the cause first: a record that the current acceptance rules refuse is
    not sent.

    Example: ddor rejected redrive detainer-issued/3/1742 --by "A. Smith"

    Exit code 1: at least one record was not sent.
    """
    run(_redrive(by, where or [], reason))


@app.command()
def purge(by: By) -> None:
    """Delete the stored bytes of records rejected more than 90 days ago. The reasons stay.

    Aggregators do this once a day.
    """
    run(_purge(by))


async def _list(reason: str | None, limit: int) -> None:
    connection = await postgres.connect(settings.load(), "ddor-rejected")
    try:
        rows = await connection.fetch(SQL["rejects"], reason, limit)
    finally:
        await connection.close()
    for row in rows:
        out.print(_line(row), highlight=False, soft_wrap=True)
    if not rows:
        out.print("none")


def _line(row: Mapping[str, Any]) -> str:
    """One reject on one line. Its address is first and never cut: it is the argument of other commands."""
    address = RecordAddress(Partition(row["topic"], row["partition"]), row["kafka_offset"])
    why = f"{row['reason']:20}  {row['field'] or '-'}: {row['detail']}"
    again = f"; redriven as {row['redriven_to']}" if row["redriven_to"] else ""
    return f"{address!s:24}  {row['rejected_at']:%Y-%m-%d %H:%M:%S}Z  {why}{again}"


async def _show(where: str) -> int:
    address = addresses.record(where)
    connection = await postgres.connect(settings.load(), "ddor-rejected")
    try:
        row = await connection.fetchrow(SQL["reject"], *_key(address))
    finally:
        await connection.close()
    if row is None:
        err.print(f"{address}: was not rejected")
        return FAILED
    for name in ("reason", "field", "detail", "rejected_at", "redriven_at", "redriven_to", "kept_until"):
        if row[name] is not None:
            out.print(f"{name:12} {row[name]}", highlight=False, soft_wrap=True)
    out.print(f"{'sha256':12} {row['sha256'].hex()}", highlight=False, soft_wrap=True)
    value = repr(row["value"]) if row["value"] else "not stored: may contain personal data, or deleted after 90 days"
    out.print(f"{'value':12} {value}", highlight=False, soft_wrap=True)
    return 0


async def _redrive(by: str, where: list[str], reason: str | None) -> int:
    if bool(where) == (reason is not None):
        err.print("name the records or give a --reason, not both")
        return WRONG_USE
    chosen = [addresses.record(text) for text in where]
    loaded = settings.load()
    async with AsyncExitStack() as stack:
        connection = await postgres.connect(loaded, "ddor-redrive")
        stack.push_async_callback(connection.close)
        log = LogInspector(kafka.client(loaded, "ddor-redrive-log"))
        stack.push_async_callback(log.stop)
        await log.start()
        await kafka_access.check(kafka.client(loaded, "ddor-redrive-access"), WRITE_EVENTS)
        producer = AIOKafkaProducer(**kafka.client(loaded, "ddor-redrive"), acks="all", enable_idempotence=True)
        stack.push_async_callback(kafka.stop_producer, producer, _ENDING)
        await kafka.start(producer.start)
        if reason is not None:
            rows = await connection.fetch(SQL["rejects_to_redrive"], reason)
            chosen = [RecordAddress(Partition(row["topic"], row["partition"]), row["kafka_offset"]) for row in rows]
        weeks, code = WeekIndex(loaded.calendar), 0
        for address in chosen:
            try:
                done, sentence = await _redrive_one(connection, log, producer, address, weeks=weeks, by=by)
            except Exception:
                err.print(
                    f"{address}: it is unknown whether this record was sent; the records after it were not sent",
                    highlight=False, soft_wrap=True,
                )  # fmt: skip
                raise
            out.print(f"{address}: {sentence}", highlight=False, soft_wrap=True)
            code = code if done else FAILED
    return code


async def _redrive_one(
    connection: asyncpg.Connection[Any],
    log: LogInspector,
    producer: AIOKafkaProducer,
    address: RecordAddress,
    *,
    weeks: WeekIndex,
    by: str,
) -> tuple[bool, str]:
    """Send one record again and mark it as redriven, while its row is locked.

    After a crash between the two it may be sent twice. Both records are the same fact, which counts once.
    """
    topic, key = address.partition.topic, _key(address)
    async with connection.transaction():
        row = await connection.fetchrow(SQL["lock_reject"], *key)
        if row is None:
            return False, "was not rejected"
        if row["redriven_to"] is not None:
            return True, f"was already redriven as {row['redriven_to']}; nothing done"
        found, value = await log.record(address)
        if not found or digest(value) != row["sha256"]:
            return False, "not sent: the log no longer contains it; ask the agency to send the event again"
        try:
            accept_any(value, topic)
            again = _marked(value, address)
            event = accept_any(again, topic)
            if isinstance(event, Attestation):
                decoding.check_week(event, weeks)
        except Refused as refused:
            return False, f"not sent: still invalid, {refused.code}"
        message_key = event.key.encode()
        number = partition_of(message_key, len(await producer.partitions_for(topic)))
        headers = [("content-type", CONTENT_TYPE.encode())]
        async with asyncio.timeout(_PATIENCE):
            sent = await producer.send_and_wait(topic, value=again, key=message_key, partition=number, headers=headers)
        to = str(RecordAddress(Partition(topic, number), sent.offset))
        await connection.execute(SQL["mark_redriven"], *key, to)
        await connection.execute(SQL["add_action"], by, "redrive", str(address), {"to": to})
    return True, f"sent again as {to}"


def _key(address: RecordAddress) -> tuple[str, int, int]:
    """The primary key of its row in `rejected`."""
    return address.partition.topic, address.partition.number, address.offset


def _marked(value: bytes | None, address: RecordAddress) -> bytes:
    """The event with the extension `redriveof`."""
    event = json.loads(value or b"") | {"redriveof": str(address)}
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


async def _purge(by: str) -> None:
    connection = await postgres.connect(settings.load(), "ddor-purge")
    try:
        count = await retention.purge(connection, datetime.now(UTC))
        await connection.execute(SQL["add_action"], by, "purge", "rejected_raw", {"rows": count})
    finally:
        await connection.close()
    out.print(f"{count:,} deleted")
