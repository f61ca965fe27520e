"""Step weeks through their states: write and count facts, set the clock, close weeks, send revisions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import asyncpg

from schemas.log import Partition
from schemas.topics import REPORT_LATEST, REPORT_READY
from schemas.week import ReportingWeek
from services.publisher import announcements
from services.publisher.announcements import Announced
from services.runtime.settings import Settings
from tests.support import events, kafka_log
from tests.support.counting import Counting, counting
from tests.support.kafka_log import Message
from tests.support.positions import Connection
from tests.support.publishing import Publisher, client, publishing, relaying

GRACE = timedelta(hours=24)
WASHOE = "32031"


def detainer(kind: str, number: int, week: ReportingWeek, *, day: Any = 2, **changes: Any) -> Message:
    """One fact that counts in the week."""
    at = (week.begins_at + timedelta(days=day)).isoformat()
    if kind == "issued":
        return events.message("issued", events.issued(number, **{"issued_at": at, **changes}))
    instants = {"issued_at": at, "declined_at": at, "recorded_at": at}
    return events.message("declined", events.declined(number, **{**instants, **changes}))


def both(numbers: Collection[int], week: ReportingWeek, **changes: Any) -> list[Message]:
    """Each of these detainers issued and declined in the week."""
    return [detainer(kind, number, week, **changes) for number in numbers for kind in ("issued", "declined")]


@dataclass(slots=True)
class Life:
    """A log, a database, an aggregator and a publisher."""

    settings: Settings
    connection: Connection
    counter: Counting
    publisher: Publisher
    addresses: list[tuple[str, int, int]] = field(default_factory=list)

    async def write(self, *messages: Message, leave: Collection[Partition] = ()) -> list[tuple[str, int, int]]:
        """Write facts to the log and count them. Returns their addresses."""
        self.addresses = await kafka_log.append(self.settings.kafka_bootstrap, messages)
        await self.counter.count(leave)
        return self.addresses

    async def halt(self, partition: Partition, reason: str) -> None:
        """Halt a partition, as the aggregator does."""
        await self.connection.execute(
            "UPDATE partition_position SET halted_reason = $1 WHERE (topic, partition) = ($2, $3)",
            reason,
            partition.topic,
            partition.number,
        )

    async def resume(self) -> None:
        """Resume every partition, as an operator does."""
        await self.connection.execute("UPDATE partition_position SET halted_reason = NULL")

    async def mark_redriven(self, rejected: tuple[str, int, int], again: tuple[str, int, int]) -> None:
        """Note that a rejected record was sent again, as `ddor rejected redrive` does."""
        done = await self.connection.execute(
            "UPDATE rejected SET redriven_at = now(), redriven_to = $4"
            " WHERE (topic, partition, kafka_offset) = ($1, $2, $3)",
            *rejected,
            "/".join(map(str, again)),
        )
        assert done == "UPDATE 1"

    def due(self, week: ReportingWeek) -> None:
        """Set the clock to the week's end plus grace."""
        self.publisher.clock.now = week.ends_at + GRACE

    async def close(self, week: ReportingWeek) -> int:
        """Close all weeks that are due when this week is. Returns the number of steps."""
        self.due(week)
        return await self.publisher.steps()

    async def send(self) -> int:
        """Start a relay, send all messages, stop it, and mark the weeks as published."""
        now = self.publisher.clock.now
        async with relaying(self.settings, self.publisher.store._connection, now) as relay:
            sent = await relay.run(now)
        await self.publisher.step()
        return sent

    async def report(self, week: ReportingWeek | date, revision: int | None = None) -> dict[str, Any]:
        """A revision's document, the newest if none is named."""
        figures: dict[str, Any] = await self.connection.fetchval(
            "SELECT figures FROM report WHERE week = $1 AND revision = COALESCE($2, revision)"
            " ORDER BY revision DESC LIMIT 1",
            week.first if isinstance(week, ReportingWeek) else week,
            revision,
        )
        return figures

    async def revisions(self) -> list[tuple[str, int, str]]:
        """Week, revision and cause, in the order of writing."""
        rows = await self.connection.fetch("SELECT week, revision, cause FROM report ORDER BY sequence")
        return [(str(row["week"]), row["revision"], row["cause"]) for row in rows]

    async def state(self, week: ReportingWeek) -> str | None:
        """The week's state."""
        state: str | None = await self.connection.fetchval("SELECT state FROM week_close WHERE week = $1", week.first)
        return state

    async def moves(self, week: ReportingWeek) -> list[str]:
        """The states that the week went to, in order."""
        rows = await self.connection.fetch("SELECT * FROM week_transition WHERE week = $1 ORDER BY id", week.first)
        for before, after in pairwise(rows):
            assert before["to_state"] == after["from_state"], "no state is left out"
        return [row["to_state"] for row in rows]

    async def announced(self) -> list[Announced]:
        """The announcements on the topic for the weeks in this database, in order."""
        weeks = {row["week"] for row in await self.connection.fetch("SELECT DISTINCT week FROM report")}
        return [
            one
            async for one in announcements.read(client(self.settings))
            if isinstance(one, Announced) and one.week in weeks
        ]


async def newest(connection: Connection, week: ReportingWeek) -> dict[str, Any]:
    """The document of a week's newest revision."""
    figures: dict[str, Any] = await connection.fetchval(
        "SELECT figures FROM report WHERE week = $1 ORDER BY revision DESC LIMIT 1", week.first
    )
    return figures


def changes(report: dict[str, Any]) -> dict[tuple[str, str], tuple[int | None, int | None, dict[str, int]]]:
    """The changed cells of a report: old, new, causes."""
    return {(one["geoid"], one["kind"]): (one["old"], one["new"], one["causes"]) for one in report["changes"]}


async def prove_chain(connection: asyncpg.Connection[Any]) -> int:
    """Check revision numbers, digests, their chain and that each revision changes a figure. Returns their number."""
    rows = await connection.fetch("SELECT * FROM report ORDER BY sequence")
    numbers: dict[date, int] = {}
    figures: dict[date, str] = {}
    before = None
    for number, row in enumerate(rows, start=1):
        week = row["week"]
        assert row["sequence"] == number
        assert row["revision"] == numbers.get(week, 0) + 1
        assert row["previous_digest"] == before
        assert row["figures_digest"] != figures.get(week)
        numbers[week], figures[week], before = row["revision"], row["figures_digest"], row["digest"]
    return len(rows)


@asynccontextmanager
async def living(settings: Settings, first: ReportingWeek) -> AsyncIterator[Life]:
    """A new instance with its clock at the start of the week."""
    assert settings.first_week is not None
    async with (
        kafka_log.connected(settings) as connection,
        counting(settings) as counter,
        publishing(settings, first.begins_at) as publisher,
    ):
        yield Life(settings, connection, counter, publisher)


@asynccontextmanager
async def living_alone(settings: Settings, first: ReportingWeek) -> AsyncIterator[Life]:
    """As `living`, with report topics that have only the messages of this database. For a Kafka of its own."""
    for topic in (REPORT_READY, REPORT_LATEST):
        await kafka_log.recreate(settings.kafka_bootstrap, topic)
    async with kafka_log.connected(settings) as connection:
        await kafka_log.begin_at_the_ends(connection, settings.kafka_bootstrap)
    async with living(settings, first) as life:
        yield life
