"""Ten weeks of operation in minutes: `python -m tests.system.ten_weeks` starts its own Kafka and PostgreSQL.

Facts arrive late, twice, redriven, withdrawn, reassigned and amended; agencies attest; gates hold weeks; a partition
halts; the publisher is killed; the clock is set back and summer time begins; the database is restored from a backup;
weeks become final. Only the clock is simulated. At the end every revision is printed and its chain, sums and log
are verified.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from pydantic import SecretStr

from deploy.local import parts
from deploy.local.databases import ensure_database
from schemas.log import Partition
from schemas.week import ReportingWeek
from services.cli.console import out
from services.publisher import recovery
from services.publisher.queries import SQL
from services.publisher.relay import Relay
from services.runtime.settings import Settings
from tests.support import commands, events, kafka_log
from tests.support.agencies import LAS_VEGAS, write_agencies
from tests.support.batches import CALENDAR
from tests.support.kafka_log import Message
from tests.support.life import WASHOE, Life, both, detainer, living
from tests.support.local_parts import migrated, started
from tests.support.publisher_lives import session
from tests.support.publishing import client
from tests.system import proof

FIRST = CALENDAR.week(date(2017, 1, 28))
PROVISIONAL = 5
_MINUTE = timedelta(minutes=1)
_WITHDRAWN: dict[str, Any] = {"withdrawn": True, "withdrawn_reason": "wrong-person"}


class TenWeeks:
    """The scenario: one method per week. `say` receives a line for each event."""

    def __init__(self, life: Life, say: Callable[[str], None]) -> None:
        self.life = life
        self.say = say
        self.facts: list[Message] = []
        self.weeks = [FIRST]
        for _ in range(11):
            self.weeks.append(CALENDAR.next(self.weeks[-1]))

    async def live(self) -> None:
        """Run all weeks in order."""
        story = (
            self.quiet, self.late, self.withdrawn_and_reassigned, self.conflict, self.halted,
            self.empty, self.summer_time, self.restored, self.redriven, self.after_final,
        )  # fmt: skip
        for number, chapter in enumerate(story):
            self.say(f"{self.weeks[number]}: {(chapter.__doc__ or '').strip()}")
            await chapter(self.weeks[number], self.weeks[max(0, number - 1)])

    async def tell(self, *messages: Message, leave: Iterable[Partition] = ()) -> None:
        """Write facts and wait until they are counted."""
        self.facts += messages
        await self.life.write(*messages, leave=list(leave))

    async def status(self, week: ReportingWeek) -> tuple[str, int | None, int | None]:
        """Status of the agency in the newest report, and the differences of its attested counts."""
        agencies = (await self.life.report(week))["scope"]["agencies"]
        (one,) = [one for one in agencies if one["agency"] == LAS_VEGAS]
        return one["status"], one["missing_issued"], one["missing_declined"]

    async def publish(self, week: ReportingWeek) -> None:
        """Close due weeks and send their reports."""
        await self.life.close(week)
        await self.life.send()

    async def quiet(self, week: ReportingWeek, _: ReportingWeek) -> None:
        """An ordinary week. Its agency attests the counted numbers."""
        attested = events.attested(str(week), issued=46, declined=46)
        await self.tell(*both(range(40), week), *both(range(40, 46), week, jurisdiction=WASHOE))
        await self.tell(events.attesting(attested))
        await self.publish(week)
        assert await self.status(week) == ("attested", 0, 0)

    async def late(self, week: ReportingWeek, before: ReportingWeek) -> None:
        """Facts of last week arrive late and twice. The relay is killed before marking. An agency attests more."""
        await self.tell(*both(range(100, 130), week), *both([50, 51], before), *both(range(5), before))
        await self.tell(events.attesting(events.attested(str(week), issued=31)))
        await self.life.close(week)
        await session(self.life, 10_000, dies_at="mark_sent")
        await self.life.send()
        assert await self.status(week) == ("differing", 1, None)
        assert await self.status(before) == ("differing", -2, -2), "two more of each than attested"

    async def withdrawn_and_reassigned(self, week: ReportingWeek, before: ReportingWeek) -> None:
        """Facts are withdrawn, reassigned and amended. The publisher is killed 8 times during the close."""
        await self.tell(
            *both(range(200, 220), week),
            detainer("declined", 100, before, version=2, **_WITHDRAWN),
            detainer("issued", 101, before, version=2, jurisdiction=WASHOE),
            detainer("declined", 102, week, version=2, issued_at=before.begins_at.isoformat()),
            detainer("declined", 103, before, version=2, reason="capacity"),
            detainer("declined", 1, FIRST, version=2, **_WITHDRAWN),
        )
        self.life.due(week)
        for moment in range(2, 90, 11):
            await session(self.life, moment)
        await self.publish(week)

    async def conflict(self, week: ReportingWeek, _: ReportingWeek) -> None:
        """One version with two contents holds the week until an operator releases it."""
        await self.tell(*both(range(300, 325), week), detainer("declined", 300, week, reason="capacity"))
        await self.life.close(week)
        assert await self.life.state(week) == "held"
        done = await commands.ddor(self.life.settings, "release", str(week), "--by", "Ada", "--note", "asked them")
        assert done.exit_code == 0, done.output
        await self.publish(week)
        assert [one["by"] for one in (await self.life.report(week))["sign_offs"]] == ["Ada"]

    async def halted(self, week: ReportingWeek, _: ReportingWeek) -> None:
        """A halted partition holds the week. After its deadline the week is published with a flag."""
        facts = both(range(400, 430), week)
        stuck = facts[1].target
        await self.tell(*facts, detainer("declined", 300, self.weeks[3], version=2), leave=[stuck])
        await self.life.halt(stuck, "TooManyRejects: 201")
        await self.life.close(week)
        assert await self.life.state(week) == "held"
        self.life.publisher.clock.now += self.life.settings.hold
        await self.life.publisher.steps()
        await self.life.send()
        assert [one["gate"] for one in (await self.life.report(week))["flags"]] == ["halted-partition"]
        await self.life.resume()
        await self.life.counter.count()

    async def empty(self, week: ReportingWeek, _: ReportingWeek) -> None:
        """A week without facts. The clock is set back ten days after its publication."""
        await self.publish(week)
        self.life.publisher.clock.now -= timedelta(days=10)
        assert await self.life.publisher.steps() == 0
        assert await self.life.send() == 0

    async def summer_time(self, week: ReportingWeek, _: ReportingWeek) -> None:
        """Summer time begins (167 hours). Events at its first instant, at the first one after it, and of next year."""
        assert week.hours == 167
        await self.tell(
            detainer("issued", 500, week, issued_at=week.begins_at.isoformat()),
            detainer("issued", 501, week, issued_at=week.ends_at.isoformat()),
            detainer("issued", 502, week, issued_at=(week.ends_at + timedelta(days=365)).isoformat()),
            *both(range(510, 520), week),
        )
        self.life.publisher.clock.now = week.ends_at + timedelta(hours=24) - timedelta(seconds=1)
        assert await self.life.publisher.steps() == 0
        await self.publish(week)

    async def restored(self, week: ReportingWeek, before: ReportingWeek) -> None:
        """The database is restored from a backup without this week's close. `ddor recover` restores it."""
        await self.tell(*both(range(600, 612), week), *both([520], before))
        connection = self.life.connection
        newest = await connection.fetchval("SELECT max(sequence) FROM report")
        await self.publish(week)
        await connection.execute(
            "DELETE FROM published_figure USING report r WHERE r.sequence > $1 AND (r.week, r.revision) ="
            " (published_figure.week, published_figure.revision)",
            newest,
        )
        await connection.execute("DELETE FROM report WHERE sequence > $1", newest)
        await connection.execute("DELETE FROM week_transition WHERE week = $1", week.first)
        await connection.execute("DELETE FROM week_close WHERE week = $1", week.first)
        try:
            await recovery.check(connection, client(self.life.settings))
        except recovery.RecoveryNeededError as error:
            self.say(f"  {error}")
        else:
            raise AssertionError("it is not seen that revisions are lacking")
        done = await commands.ddor(self.life.settings, "recover", "--by", "Ada")
        assert done.exit_code == 0, done.output

    async def redriven(self, week: ReportingWeek, before: ReportingWeek) -> None:
        """A reject is redriven. A stopped relay resumes after another one took over, and writes nothing."""
        await self.tell(detainer("declined", 620, before, reason="no-such-reason"))
        (bad,) = self.life.addresses
        await self.tell(detainer("declined", 620, before), *both(range(700, 710), week))
        again = next(address for address in self.life.addresses if address[0] == bad[0])
        await self.life.mark_redriven(bad, again)
        await self.life.close(week)
        old = Relay(client(self.life.settings), self.life.connection)
        await old.start(self.life.publisher.clock.now)
        rows = await self.life.connection.fetch(SQL["unsent"])
        await self.life.send()
        try:
            await old.send(rows)
        except KafkaError as error:
            self.say(f"  the relay that was stopped: {type(error).__name__}")
        else:
            raise AssertionError("the relay that was stopped is not fenced")
        finally:
            await old.stop()

    async def after_final(self, week: ReportingWeek, _: ReportingWeek) -> None:
        """The first weeks are final. New facts for them are pending until an operator restates one."""
        await self.tell(*both(range(800, 805), week), *both([60], FIRST))
        await self.publish(week)
        self.life.publisher.clock.now += _MINUTE
        await self.life.send()
        assert await self.life.state(FIRST) == "final"
        revision = (await self.life.report(FIRST))["revision"]
        await self.life.connection.execute(
            SQL["request_restatement"], FIRST.first, "Ada", "a court asked", self.life.publisher.clock.now
        )
        await self.life.publisher.step()
        assert (await self.life.report(FIRST))["revision"] == revision + 1
        await self.life.send()


@asynccontextmanager
async def beginning(dsn: str, bootstrap: str, directory: Path) -> AsyncIterator[Life]:
    """A `Life` on an empty database and empty topics."""
    settings = Settings(
        postgres_dsn=SecretStr(await migrated(dsn)),
        kafka_bootstrap=bootstrap,
        agencies_file=write_agencies(directory / "agencies.toml"),
        first_week=FIRST.first,
        restatement_weeks=PROVISIONAL,
    )
    async with living(settings, FIRST) as life:
        yield life


async def run(dsn: str, bootstrap: str, directory: Path) -> None:
    """Run the ten weeks, check them and print them."""
    async with beginning(dsn, bootstrap, directory) as life:
        story = TenWeeks(life, lambda line: out.print(line, highlight=False, soft_wrap=True))
        await story.live()
        await proof.prove(life, story.weeks[:10], story.facts, story.say)
        out.print(await proof.table(life))


def main() -> int:
    """Run with its own Kafka and PostgreSQL. Returns 0 if all checks pass."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began = datetime.now().astimezone()
    with tempfile.TemporaryDirectory(prefix="ddor-ten-weeks-") as scratch:
        directory = Path(scratch)
        with (
            started(parts.choose_kafka(directory / "kafka")) as kafka,
            started(parts.choose_postgres(directory / "postgres")) as postgres,
        ):
            kafka_log.make_topics(kafka)
            out.print(f"on {kafka.name} and {postgres.name}")
            asyncio.run(run(ensure_database(postgres.dsn, "ten_weeks"), kafka.bootstrap, directory))
    out.print(f"ten weeks in {(datetime.now().astimezone() - began).seconds} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
