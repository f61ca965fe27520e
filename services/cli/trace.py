"""`ddor trace`: what the system did with a detainer or with one record."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import asyncpg
import typer

from schemas.acceptance import Refused, accept_any
from schemas.attestation import Attestation
from schemas.fact import Fact
from schemas.log import Partition, RecordAddress, Vector
from services.aggregator.log_inspector import LogInspector
from services.cli import addresses
from services.cli.console import FAILED, err, out, run, styled
from services.cli.queries import SQL
from services.runtime import kafka, postgres, settings
from services.runtime.settings import Settings


def trace(
    what: Annotated[
        str,
        typer.Argument(
            metavar="DETAINER_ID|RECORD", help="A detainer_id (UUID), or the topic/partition/offset of a record."
        ),
    ],
) -> None:
    """Show what the system did with a detainer or with one record.

    A record is counted (in which week, jurisdiction and revisions), a duplicate, superseded by a later version,
    withdrawn, rejected, or not read yet.

    Examples:

    - ddor trace 7d3f6c1e-2b44-4c1a-9d1e-0a5f1c2b3d4e
    - ddor trace detainer-issued/3/1742

    Exit code 1: the detainer or the record is unknown.
    """
    run(_trace(what))


async def _trace(what: str) -> int:
    loaded = settings.load()
    subject = addresses.record(what) if "/" in what else _detainer_id(what)
    connection = await postgres.connect(loaded, "ddor-trace")
    try:
        if isinstance(subject, RecordAddress):
            return await _trace_record(connection, loaded, subject)
        return await _trace_detainer(connection, subject)
    finally:
        await connection.close()


def _detainer_id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise addresses.NoSuchAddressError(
            f"{text!r}: write a detainer_id (a UUID) or topic/partition/offset, such as detainer-issued/3/1742"
        ) from None


async def _trace_detainer(connection: asyncpg.Connection[Any], detainer_id: str) -> int:
    facts = await _facts(connection, detainer_id)
    if not facts:
        err.print(f"{detainer_id}: no fact; it was never sent, is not read yet, or was rejected (ddor rejected list)")
        return FAILED
    vectors = await _vectors(connection, facts)
    for kind, agency in sorted({(fact["kind"], fact["agency"]) for fact in facts}, key=_issued_first):
        versions = [fact for fact in facts if (fact["kind"], fact["agency"]) == (kind, agency)]
        out.print(styled("bold", kind, f", agency {agency}"), highlight=False)
        for fact in versions:
            outcome = _outcome(fact, versions, vectors)
            out.print(f"  version {fact['version']} at {fact['address']}: {outcome}", soft_wrap=True)
    return 0


async def _trace_record(connection: asyncpg.Connection[Any], loaded: Settings, address: RecordAddress) -> int:
    partition, offset = address.partition, address.offset
    position = await connection.fetchrow(SQL["partition"], partition.topic, partition.number)
    if position is None or offset >= position["next_offset"]:
        return await _trace_unread(loaded, address, position["next_offset"] if position else 0)
    rejected = await connection.fetchrow(SQL["reject"], partition.topic, partition.number, offset)
    if rejected is not None:
        again = f"; redriven as {rejected['redriven_to']}" if rejected["redriven_to"] else ""
        out.print(f"{address}: rejected, {rejected['reason']}: {rejected['detail']}{again}", soft_wrap=True)
        return 0
    found, value = await _read(loaded, address)
    if not found:
        why = "a transaction's marker, or an aborted one" if offset >= 0 else "the partition's log was replaced"
        out.print(f"{address}: the log has no record at this offset ({why})")
        return 0
    try:
        event = accept_any(value, partition.topic)
    except Refused as refused:
        return await _report_refused(connection, address, refused.code)
    if isinstance(event, Attestation):
        return await _trace_attestation(connection, address, event)
    return await _trace_fact(connection, address, event)


async def _report_refused(connection: asyncpg.Connection[Any], address: RecordAddress, code: str) -> int:
    """A record that was read, has no row in `rejected`, and does not pass the current acceptance rules."""
    if await connection.fetchval(SQL["pruned"], address.partition.topic, address.partition.number):
        out.print(f"{address}: rejected, by the current rules as {code}; its row was deleted after the retention time")
        return 0
    err.print(f"{address}: was counted, but the current acceptance rules refuse it: {code}")
    return FAILED


async def _trace_unread(loaded: Settings, address: RecordAddress, position: int) -> int:
    """A record that is not read yet or does not exist. Raises NoSuchAddressError for an unknown partition."""
    partition = address.partition
    log = LogInspector(kafka.client(loaded, "ddor-trace"))
    try:
        await log.start()
        numbers = {one.number for one in await log.partitions() if one.topic == partition.topic}
        if partition.number not in numbers:
            raise addresses.NoSuchAddressError(
                f"{partition.topic} has no partition {partition.number}: it has {len(numbers)}, 0 to {max(numbers)}"
            )
        (end,) = (await log.ends([partition])).values()
    finally:
        await log.stop()
    if address.offset >= end:
        err.print(f"{address}: there is no such record; the log of {partition} ends at {end}", soft_wrap=True)
        return FAILED
    out.print(f"{address}: not read yet; the position is {position}")
    return 0


async def _read(loaded: Settings, address: RecordAddress) -> tuple[bool, bytes | None]:
    log = LogInspector(kafka.client(loaded, "ddor-trace"))
    try:
        await log.start()
        return await log.record(address)
    finally:
        await log.stop()


async def _trace_fact(connection: asyncpg.Connection[Any], address: RecordAddress, fact: Fact) -> int:
    out.print(f"{address}: {fact.kind}, agency {fact.agency}, detainer {fact.detainer_id}, version {fact.version}")
    facts = await _facts(connection, fact.detainer_id)
    versions = [one for one in facts if (one["kind"], one["agency"]) == (fact.kind, fact.agency)]
    same = _row_of(address, fact, versions)
    if same is None:
        return FAILED
    out.print(f"  {_outcome(same, versions, await _vectors(connection, versions))}", soft_wrap=True)
    return 0


def _issued_first(identity: tuple[str, str]) -> tuple[bool, str]:
    kind, agency = identity
    return kind != "issued", agency


async def _trace_attestation(connection: asyncpg.Connection[Any], address: RecordAddress, event: Attestation) -> int:
    counts = f"issued {_number(event.issued)}, declined {_number(event.declined)}"
    summary = f"{address}: agency {event.agency} attests the week {event.week}: {counts}, version {event.version}"
    out.print(summary, soft_wrap=True)
    rows = await connection.fetch(SQL["attestations"], event.agency, event.week)
    versions = [_with_address(row, address.partition.topic) for row in rows]
    same = _row_of(address, event, versions)
    if same is None:
        return FAILED
    if same is versions[0]:
        out.print("  in effect: reports of this week show it beside the counts")
    else:
        out.print(f"  superseded by version {versions[0]['version']} at {versions[0]['address']}")
    return 0


def _number(count: int | None) -> str:
    return "not attested" if count is None else f"{count:,}"


def _row_of(
    address: RecordAddress, event: Fact | Attestation, versions: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """The database's row of this event. Prints a message if there is none, or if it names another record."""
    same = next((one for one in versions if _is_row_of(one, event)), None)
    if same is None:
        err.print("  not in the ledger, nor in the history: the database belongs to another log")
    elif same["address"] != address:
        out.print(f"  duplicate of {same['address']}")
    return same


async def _facts(connection: asyncpg.Connection[Any], detainer_id: str) -> list[dict[str, Any]]:
    agencies = [row["id"] for row in await connection.fetch(SQL["agencies"])]
    rows = await connection.fetch(SQL["facts_of"], detainer_id, agencies)
    return [_with_address(row, row["topic"]) for row in rows]


def _with_address(row: asyncpg.Record, topic: str) -> dict[str, Any]:
    return {**row, "address": RecordAddress(Partition(topic, row["partition"]), row["kafka_offset"])}


async def _vectors(connection: asyncpg.Connection[Any], facts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The revisions of the facts' weeks, each with its vector."""
    weeks = sorted({fact["week"] for fact in facts})
    rows = await connection.fetch(SQL["vectors"], weeks)
    return [{**row, "vector": Vector.from_json(row["offsets"])} for row in rows]


def _is_row_of(row: Mapping[str, Any], event: Fact | Attestation) -> bool:
    return (row["version"], bytes(row["fingerprint"])) == (event.version, event.fingerprint)


def _outcome(
    fact: Mapping[str, Any], versions: Sequence[Mapping[str, Any]], reports: Sequence[Mapping[str, Any]]
) -> str:
    """What the system did with one of the versions of an identity, and the revisions that counted it."""
    counted = [f"{row['week']} revision {row['revision']}" for row in reports if _counts(fact, versions, row)]
    published = f"; in {', '.join(counted)}" if counted else "; in no published report"
    rivals = [one for one in versions if one["version"] == fact["version"] and one is not fact]
    conflict = f"; conflicting with {', '.join(str(one['address']) for one in rivals)}" if rivals else ""
    if not fact["in_ledger"]:
        winner = next(one for one in versions if one["in_ledger"])
        return f"superseded by version {winner['version']} at {winner['address']}{conflict}{published}"
    if fact["withdrawn"]:
        return f"withdrawn, in no count{conflict}{published}"
    return f"counted in week {fact['week']} for {fact['jurisdiction']}{conflict}{published}"


def _counts(fact: Mapping[str, Any], versions: Sequence[Mapping[str, Any]], report: Mapping[str, Any]) -> bool:
    """Whether a report counted the fact: it had the highest rank of all versions below the report's vector."""
    vector: Vector = report["vector"]
    below = [one for one in versions if vector.covers(one["address"].partition, one["address"].offset)]
    winner = max(below, key=lambda one: (one["version"], bytes(one["fingerprint"])), default=None)
    return winner is fact and fact["week"] == report["week"] and not fact["withdrawn"]
