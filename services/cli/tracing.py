"""`ddor trace`: what became of a detainer, or of one record."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import asyncpg
import typer

from schemas.acceptance import Refused, accept_any
from schemas.attestation import Attestation
from schemas.fact import Fact
from services.aggregator.log import Log
from services.cli import places
from services.cli.places import Place
from services.cli.resuming import SQL
from services.cli.terminal import FAILED, err, out, run
from services.runtime import kafka, postgres, settings
from services.runtime.settings import Settings


def trace(
    what: Annotated[str, typer.Argument(help="A detainer_id, or topic/partition/offset of a record.")],
) -> None:
    """Say what became of it: counted in which week, jurisdiction and revisions; duplicate; superseded; rejected."""
    run(_trace(what))


async def _trace(what: str) -> int:
    loaded = settings.load()
    connection = await postgres.connect(loaded, "ddor-trace")
    try:
        if "/" in what:
            return await _trace_record(connection, loaded, places.place(what))
        try:
            detainer_id = str(uuid.UUID(what))
        except ValueError:
            raise places.NotAPlaceError(f"{what!r} is neither a detainer_id (a UUID) nor a place") from None
        return await _trace_detainer(connection, detainer_id)
    finally:
        await connection.close()


async def _trace_detainer(connection: asyncpg.Connection[Any], detainer_id: str) -> int:
    facts = await _facts(connection, detainer_id)
    if not facts:
        err.print(f"{detainer_id}: no fact; it was never sent, is not read yet, or was rejected (ddor rejected list)")
        return FAILED
    vectors = await _vectors(connection, facts)
    for kind, agency in sorted({(fact["kind"], fact["agency"]) for fact in facts}, key=_issued_first):
        versions = [fact for fact in facts if (fact["kind"], fact["agency"]) == (kind, agency)]
        out.print(f"[bold]{kind}[/bold], agency {agency}", highlight=False)
        for fact in versions:
            out.print(f"  version {fact['version']} at {_at(fact)}: {_fate(fact, versions, vectors)}", soft_wrap=True)
    return 0


async def _trace_record(connection: asyncpg.Connection[Any], loaded: Settings, place: Place) -> int:
    topic, number = place.partition.topic, place.partition.number
    position = await connection.fetchrow(SQL["partition"], topic, number)
    if position is None or place.offset >= position["next_offset"]:
        out.print(f"{place}: not read yet; the position is {position['next_offset'] if position else 0}")
        return 0
    rejected = await connection.fetchrow(SQL["reject"], topic, number, place.offset)
    if rejected is not None:
        again = f"; redriven as {rejected['redriven_to']}" if rejected["redriven_to"] else ""
        out.print(f"{place}: rejected, {rejected['reason']}: {rejected['detail']}{again}", soft_wrap=True)
        return 0
    found, value = await _read(loaded, place)
    if not found:
        why = "a transaction's marker, or an aborted one" if place.offset >= 0 else "another log has taken its place"
        out.print(f"{place}: the log holds no record there ({why})")
        return 0
    try:
        event = accept_any(value, topic)
    except Refused as refused:
        err.print(f"{place}: was counted, but today's rules refuse it: {refused.code}")
        return FAILED
    if isinstance(event, Attestation):
        return await _trace_attestation(connection, place, event)
    return await _trace_fact(connection, place, event)


async def _read(loaded: Settings, place: Place) -> tuple[bool, bytes | None]:
    log = Log(kafka.client(loaded, "ddor-trace"))
    try:
        await log.start()
        return await log.record(place.partition, place.offset)
    finally:
        await log.stop()


async def _trace_fact(connection: asyncpg.Connection[Any], place: Place, fact: Fact) -> int:
    """What became of the fact that one record told."""
    out.print(f"{place}: {fact.kind}, agency {fact.agency}, detainer {fact.detainer_id}, version {fact.version}")
    facts = await _facts(connection, fact.detainer_id)
    versions = [one for one in facts if (one["kind"], one["agency"]) == (fact.kind, fact.agency)]
    same = _same(place, fact, versions)
    if same is None:
        return FAILED
    out.print(f"  {_fate(same, versions, await _vectors(connection, versions))}", soft_wrap=True)
    return 0


def _issued_first(identity: tuple[str, str]) -> tuple[bool, str]:
    kind, agency = identity
    return kind != "issued", agency


async def _trace_attestation(connection: asyncpg.Connection[Any], place: Place, event: Attestation) -> int:
    """What became of an attestation that one record told."""
    counts = f"issued {_number(event.issued)}, declined {_number(event.declined)}"
    said = f"{place}: agency {event.agency} attests the week {event.week}: {counts}, version {event.version}"
    out.print(said, soft_wrap=True)
    rows = await connection.fetch(SQL["attestations"], event.agency, event.week)
    versions = [dict(row, topic=place.partition.topic) for row in rows]
    same = _same(place, event, versions)
    if same is None:
        return FAILED
    if same is versions[0]:
        out.print("  stands: reports of this week put it beside what is counted")
    else:
        out.print(f"  superseded by version {versions[0]['version']} at {_at(versions[0])}")
    return 0


def _number(count: int | None) -> str:
    return "not attested" if count is None else f"{count:,}"


def _same(place: Place, event: Fact | Attestation, versions: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The row of this event among those of its identity; says if there is none, or if another record brought it."""
    same = next((one for one in versions if _is(one, event)), None)
    if same is None:
        err.print("  not in the ledger, nor in the history: the database is not of this log")
    elif (same["partition"], same["kafka_offset"]) != (place.partition.number, place.offset):
        out.print(f"  duplicate of {_at(same)}")
    return same


async def _facts(connection: asyncpg.Connection[Any], detainer_id: str) -> list[dict[str, Any]]:
    agencies = [row["id"] for row in await connection.fetch(SQL["agencies"])]
    return [dict(row) for row in await connection.fetch(SQL["facts_of"], detainer_id, agencies)]


async def _vectors(connection: asyncpg.Connection[Any], facts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    weeks = sorted({fact["week"] for fact in facts})
    return [dict(row) for row in await connection.fetch(SQL["vectors"], weeks)]


def _is(row: Mapping[str, Any], fact: Fact | Attestation) -> bool:
    return (row["version"], bytes(row["fingerprint"])) == (fact.version, fact.fingerprint)


def _at(fact: Mapping[str, Any]) -> str:
    return f"{fact['topic']}/{fact['partition']}/{fact['kafka_offset']}"


def _fate(fact: Mapping[str, Any], versions: Sequence[Mapping[str, Any]], vectors: Sequence[Mapping[str, Any]]) -> str:
    """What became of one fact among all versions of its identity, and which revisions counted it."""
    counted = [f"{row['week']} revision {row['revision']}" for row in vectors if _counts(fact, versions, row)]
    published = f"; in {', '.join(counted)}" if counted else "; in no published report"
    rivals = [one for one in versions if one["version"] == fact["version"] and one is not fact]
    conflict = f"; conflicting with {', '.join(_at(one) for one in rivals)}" if rivals else ""
    if not fact["in_ledger"]:
        winner = next(one for one in versions if one["in_ledger"])
        return f"superseded by version {winner['version']} at {_at(winner)}{conflict}{published}"
    if fact["withdrawn"]:
        return f"withdrawn, in no count{conflict}{published}"
    return f"counted in week {fact['week']} for {fact['jurisdiction']}{conflict}{published}"


def _counts(fact: Mapping[str, Any], versions: Sequence[Mapping[str, Any]], report: Mapping[str, Any]) -> bool:
    """Whether a report counted the fact: of the facts below its vector, this one had the highest rank."""
    below = [
        one
        for one in versions
        if one["kafka_offset"] < report["offsets"].get(one["topic"], {}).get(str(one["partition"]), 0)
    ]
    winner = max(below, key=lambda one: (one["version"], bytes(one["fingerprint"])), default=None)
    return winner is fact and fact["week"] == report["week"] and not fact["withdrawn"]
