"""The verdict: compare the log with the acknowledgements, the database with a model of the log, reports with both.

It does not use the services, and the model shares no code with them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from schemas.acceptance import Refused, accept_any
from schemas.log import Partition, RecordAddress, Vector
from schemas.topics import EVENT_TOPICS
from tests.chaos.producing import Acknowledged, digest
from tests.support import database_outcome, kafka_log, model
from tests.support.batches import plain
from tests.support.positions import Connection, accounts

_SHOWN = 5


@dataclass(slots=True)
class Verdict:
    """The numbers of lost and multiply counted events, and a sentence for each violation."""

    lost: int = 0
    doubled: int = 0
    violations: list[str] = field(default_factory=list)
    records: int = 0
    reports: int = 0

    def differ(self, what: str, missing: Iterable[Any], extra: Iterable[Any], different: Iterable[Any]) -> None:
        """Record a difference: missing rows are lost, surplus rows are counted twice."""
        for word, found in (("missing", list(missing)), ("too much", list(extra)), ("different", list(different))):
            if found:
                examples = "; ".join(map(str, found[:_SHOWN]))
                self.violations.append(f"{what}: {len(found):,} {word}: {examples}")
                self.lost += len(found) if word == "missing" else 0
                self.doubled += len(found) if word == "too much" else 0


@dataclass(frozen=True, slots=True)
class _Log:
    """All records, their addresses, and the facts among them."""

    values: Mapping[RecordAddress, bytes | None]
    facts: Mapping[RecordAddress, model.Fact]


async def verify(connection: Connection, bootstrap: str, acknowledged: Acknowledged) -> Verdict:
    """Compare everything, once every position is at the end of the log."""
    verdict = Verdict(violations=list(acknowledged.wrong))
    log = await _read(bootstrap)
    verdict.records = len(log.values)
    gone = [one for one, stored in acknowledged.addresses.items() if digest(log.values.get(one, b"")) != stored]
    verdict.differ("acknowledged and not on the log as it was sent", gone, (), ())
    found, expected = await database_outcome.outcome(connection), model.outcome(log.facts.values())
    for part in expected:
        _compare(verdict, part, expected[part], found[part])
    await _accounts(verdict, connection, log)
    await _reports(verdict, connection, bootstrap, log)
    return verdict


async def _read(bootstrap: str) -> _Log:
    values, facts = {}, {}
    for topic in EVENT_TOPICS:
        for number in range(topic.partitions):
            for record in await kafka_log.read(bootstrap, topic.name, number):
                address = RecordAddress(Partition(topic.name, number), record.offset)
                values[address] = record.value
                try:
                    facts[address] = plain(accept_any(record.value, topic.name))
                except Refused:
                    continue
    return _Log(values, facts)


def _compare(verdict: Verdict, part: str, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> None:
    if part == "counters":
        fewer = [key for key, n in expected.items() for _ in range(n - found.get(key, 0))]
        more = [key for key, n in found.items() for _ in range(n - expected.get(key, 0))]
        verdict.differ(part, fewer, more, ())
        return
    both = expected.keys() & found.keys()
    different = [key for key in both if expected[key] != found[key]]
    verdict.differ(part, expected.keys() - both, found.keys() - both, different)


async def _accounts(verdict: Verdict, connection: Connection, log: _Log) -> None:
    """Invariant 3 for each partition; the positions are at the log's end already."""
    read = Counter(one.partition for one in log.values)
    refused = Counter(one.partition for one in log.values.keys() - log.facts.keys())
    for partition, account in (await accounts(connection)).items():
        more = account["records"] - read.pop(partition, 0)
        verdict.differ(f"records of {partition}", [partition] * -more, [partition] * more, ())
        parts = account["facts"] + account["duplicates"] + account["rejected"]
        if account["records"] != parts or not account["rejected"] == account["rejects kept"] == refused[partition]:
            verdict.violations.append(f"{partition} does not add up: {account}, refused {refused[partition]}")
    verdict.differ("records", read.elements(), (), ())
    halted = await connection.fetch("SELECT topic, partition, halted_reason FROM partition_position")
    verdict.violations += [f"{tuple(row)} is halted" for row in halted if row["halted_reason"]]


async def _reports(verdict: Verdict, connection: Connection, bootstrap: str, log: _Log) -> None:
    """Check that each revision is on the topic once, with the outbox's bytes and the figures of its vector."""
    kept = await connection.fetch("SELECT value FROM outbox WHERE topic = 'report-ready'")
    records = await kafka_log.read(bootstrap, "report-ready")
    sent = Counter(record.value or b"" for record in records)
    named, foreign = names(records)
    verdict.differ("a record on report-ready that announces nothing", (), foreign, ())
    verdict.differ("report-ready", {row["value"] for row in kept} - sent.keys(), (), ())
    verdict.differ("report-ready", (), [one for one, n in sent.items() if n > 1], ())
    verdict.differ("a revision with two contents", (), [one for one, n in named.items() if n > 1], ())
    rows = await connection.fetch("SELECT week, revision, figures FROM report")
    verdict.reports = len(rows)
    for row in rows:
        report = json.loads(row["figures"])
        counted, expected = _figures(report), _expected(log, Vector.from_json(report["offsets"]), row["week"])
        if counted != expected:
            verdict.violations.append(f"report {row['week']} revision {row['revision']}: {counted}, and not {expected}")


def names(records: Iterable[Any]) -> tuple[Counter[str], list[int]]:
    """The number of different contents per revision, and the offsets of records without a revision."""
    contents: dict[bytes, str] = {}
    foreign = []
    for record in records:
        try:
            event = json.loads((record.value or b"").decode())
            contents[record.value] = f"{event['type']} {event['subject']}@{int(event['data']['revision'])}"
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            foreign.append(record.offset)
    return Counter(contents.values()), foreign


def _figures(report: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    rows = report["jurisdictions"]
    return {(row["geoid"], kind): row[kind] for row in rows for kind in ("issued", "declined") if row[kind]}


def _expected(log: _Log, vector: Vector, week: date) -> dict[tuple[str, str], int]:
    below = [fact for one, fact in log.facts.items() if vector.covers(one.partition, one.offset)]
    counters = model.outcome(below)["counters"]
    return {(jurisdiction, kind): n for (of, jurisdiction, kind), n in counters.items() if of == week}
