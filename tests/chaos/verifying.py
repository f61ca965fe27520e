"""The verdict: the log against what was acknowledged, the database against a model of the log, reports against both.

Nothing here asks the services; the model shares no code with them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from schemas.acceptance import Refused, accept_any
from schemas.topics import EVENT_TOPICS
from tests.chaos.producing import Acknowledged, digest
from tests.support import database_outcome, kafka_log, model
from tests.support.batches import plain
from tests.support.positions import Connection, accounts

_SHOWN = 5


@dataclass(slots=True)
class Verdict:
    """How many events are gone or counted more than once, and every violation in a sentence."""

    lost: int = 0
    doubled: int = 0
    violations: list[str] = field(default_factory=list)
    records: int = 0
    reports: int = 0

    def differ(self, what: str, missing: Iterable[Any], extra: Iterable[Any], different: Iterable[Any]) -> None:
        """Note a difference; what is missing is lost, what is too much is counted twice."""
        for word, found in (("missing", list(missing)), ("too much", list(extra)), ("different", list(different))):
            if found:
                examples = "; ".join(map(str, found[:_SHOWN]))
                self.violations.append(f"{what}: {len(found):,} {word}: {examples}")
                self.lost += len(found) if word == "missing" else 0
                self.doubled += len(found) if word == "too much" else 0


@dataclass(frozen=True, slots=True)
class _Log:
    """All records, their places, and the facts among them."""

    values: Mapping[tuple[str, int, int], bytes | None]
    facts: Mapping[tuple[str, int, int], model.Fact]


async def verify(connection: Connection, bootstrap: str, acknowledged: Acknowledged) -> Verdict:
    """Compare everything, once every position is at the end of the log."""
    verdict = Verdict(violations=list(acknowledged.wrong))
    log = await _read(bootstrap)
    verdict.records = len(log.values)
    gone = [place for place, told in acknowledged.places.items() if digest(log.values.get(place, b"")) != told]
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
                place = (topic.name, number, record.offset)
                values[place] = record.value
                try:
                    facts[place] = plain(accept_any(record.value, topic.name))
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
    told = Counter(place[:2] for place in log.values)
    refused = Counter(place[:2] for place in log.values.keys() - log.facts.keys())
    for place, account in (await accounts(connection)).items():
        more = account["records"] - told.pop(place, 0)
        verdict.differ(f"records of {place}", [place] * -more, [place] * more, ())
        parts = account["facts"] + account["duplicates"] + account["rejected"]
        if account["records"] != parts or not account["rejected"] == account["rejects kept"] == refused[place]:
            verdict.violations.append(f"{place} does not add up: {account}, refused {refused[place]}")
    verdict.differ("records", told.elements(), (), ())
    halted = await connection.fetch("SELECT topic, partition, halted_reason FROM partition_position")
    verdict.violations += [f"{tuple(row)} is halted" for row in halted if row["halted_reason"]]


async def _reports(verdict: Verdict, connection: Connection, bootstrap: str, log: _Log) -> None:
    """Each revision is on the topic once, with the bytes of the outbox and the figures of its vector."""
    kept = await connection.fetch("SELECT value FROM outbox WHERE topic = 'report-ready'")
    sent = Counter(record.value or b"" for record in await kafka_log.read(bootstrap, "report-ready"))
    documents = [json.loads(one) for one in sent]
    named = Counter((one["subject"], one["data"].get("revision")) for one in documents)
    verdict.differ("report-ready", {row["value"] for row in kept} - sent.keys(), (), ())
    verdict.differ("report-ready", (), [one for one, n in sent.items() if n > 1], ())
    verdict.differ("a revision with two contents", (), [one for one, n in named.items() if n > 1 and one[1]], ())
    rows = await connection.fetch("SELECT week, revision, figures FROM report")
    verdict.reports = len(rows)
    for row in rows:
        report = json.loads(row["figures"])
        counted, expected = _figures(report), _expected(log, report["offsets"], row["week"])
        if counted != expected:
            verdict.violations.append(f"report {row['week']} revision {row['revision']}: {counted}, and not {expected}")


def _figures(report: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    rows = report["jurisdictions"]
    return {(row["geoid"], kind): row[kind] for row in rows for kind in ("issued", "declined") if row[kind]}


def _expected(log: _Log, vector: Mapping[str, Mapping[str, int]], week: date) -> dict[tuple[str, str], int]:
    below = [
        fact
        for (topic, number, offset), fact in log.facts.items()
        if offset < vector.get(topic, {}).get(str(number), 0)
    ]
    counters = model.outcome(below)["counters"]
    return {(place, kind): n for (of, place, kind), n in counters.items() if of == week}
