"""One run: a system of its own, producers, blows, and at the end the verdict."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local import parts
from deploy.local.databases import database_dsn
from deploy.local.errors import LocalError, PartFailedError
from deploy.local.parts import Part
from deploy.local.service import Service
from deploy.local.stack import DATABASE, Stack
from tests.chaos.producing import Acknowledged, Gate, Producers
from tests.chaos.schedule import AGGREGATORS, PARTS, Blow
from tests.chaos.story import WEEKS, Story
from tests.chaos.verifying import Verdict, verify
from tests.support import kafka_log
from tests.support.positions import Connection, next_offsets
from tests.support.stacks import looking
from tests.support.waiting import until

COMMAND = ("-m", "services.cli.main")
UNFINISHED = "not everything is counted"
"""How the violation begins that says which positions are behind."""
_READY_SECONDS = 15


@dataclass(slots=True)
class Outcome:
    """What a run did and found."""

    seed: int
    blows: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    seconds: float = 0.0
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def good(self) -> bool:
        """Whether nothing at all was wrong."""
        return not self.verdict.violations


class Chaos:
    """Brings a system up in `directory`, hits it as scheduled while the story is told, and gives the verdict."""

    def __init__(
        self,
        directory: Path,
        blows: Sequence[Blow],
        events: int,
        seed: int,
        command: Sequence[str],
        progress: Callable[[int, int], None] = lambda _events, _blows: None,
        patience: float = 120,
    ) -> None:
        """`patience`: seconds after the last event for everything to be counted and published."""
        self._patience = patience
        self._step = max(1, events // (len(blows) + 1))
        self._blows = blows
        self._events = events
        self._outcome = Outcome(seed)
        self._progress = progress
        self._parts: dict[str, Part] = {
            "kafka": (kafka := parts.choose_kafka(directory / "kafka", real_only=True)),
            "postgres": (postgres := parts.choose_postgres(directory / "postgres")),
        }
        # No gate holds a week: what the story tells would look strange to all of them.
        settings = {"DDOR_LOG_FORMAT": "json", "DDOR_HOLD": "0"}
        self._stack = Stack(
            directory / "state", kafka, postgres, first_week="2099-01-03", settings=settings, command=command
        )
        self._acknowledged = Acknowledged()
        self._gate = Gate(self._acknowledged)

    async def run(self) -> Outcome:
        """The whole run; parts and services are ended and their data deleted."""
        try:
            await asyncio.to_thread(self._up)
            began = time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._producing())
                tasks.create_task(self._hitting())
            await self._settle()
            async with looking(database_dsn(self._stack.postgres.dsn, DATABASE)) as connection:
                await self._counted(connection)
                self._outcome.verdict = await verify(connection, self._stack.kafka.bootstrap, self._acknowledged)
            self._outcome.verdict.violations += self._unruly
            self._outcome.seconds = time.monotonic() - began
            self._outcome.acknowledged = len(self._acknowledged.places)
            return self._outcome
        finally:
            await asyncio.to_thread(self._down)

    def _up(self) -> None:
        self._unruly: list[str] = []
        self._stack.up()
        for name in AGGREGATORS[1:]:
            self._stack.another("aggregator", name).start()

    def _down(self) -> None:
        for service in self._stack.services.values():
            service.kill()
        for part in self._parts.values():
            part.destroy()

    async def _producing(self) -> None:
        variables = self._stack.variables()
        story = Story(self._outcome.seed, self._events)
        producers = Producers(story, self._acknowledged, self._gate, min(200, self._step // 8 + 1))
        await producers.run(
            variables["DDOR_INGEST_URL"], variables["DDOR_AGENCY_KEY"], variables["DDOR_KAFKA_BOOTSTRAP"]
        )

    async def _hitting(self) -> None:
        """Each blow while events stream in, to a service that is at work; weeks are asked to close in between."""
        weeks = list(WEEKS)
        for number, blow in enumerate(self._blows):
            await self._at_work(blow.target)
            self._gate.limit = blow.after + self._step * 3 // 4
            while len(self._acknowledged.places) < blow.after:
                self._progress(len(self._acknowledged.places), number)
                await asyncio.sleep(0.02)
            await self._hit(blow)
            self._outcome.blows[blow.name] += 1
            if weeks and number >= len(self._blows) * (len(WEEKS) - len(weeks) + 1) // (len(WEEKS) + 1):
                await self._close(weeks.pop(0))
        self._gate.limit = 10 * self._events + 1_000
        for week in weeks:
            await self._close(week)
        while len(self._acknowledged.places) < self._events:
            self._progress(len(self._acknowledged.places), len(self._blows))
            await asyncio.sleep(0.1)
        self._progress(len(self._acknowledged.places), len(self._blows))

    async def _at_work(self, target: str) -> None:
        """Wait a little for a service that an earlier blow has hit; one that does not come back is hit all the same."""
        if target not in PARTS:
            with suppress(PartFailedError):
                await asyncio.to_thread(self._stack.services[target].wait_ready, _READY_SECONDS)

    async def _hit(self, blow: Blow) -> None:
        if blow.target in PARTS:
            part = self._parts[blow.target]
            await asyncio.to_thread(part.kill if blow.act == "kill" else part.stop)
            await asyncio.to_thread(part.start)
            return
        service = self._stack.services[blow.target]
        if not service.running():
            self._unruly.append(f"{service.name} had ended by itself before {blow.name}")
        if blow.act == "stop":
            service.pause()
            await asyncio.sleep(blow.seconds)
            service.resume()
            await asyncio.sleep(blow.seconds / 3)  # to find that its leases are gone, and to take others
        else:
            await asyncio.to_thread(self._end, service, blow)
            service.spawn()

    def _end(self, service: Service, blow: Blow) -> None:
        if blow.act == "kill":
            service.kill()
        elif not service.stop():
            self._unruly.append(f"{service.name} did not end on SIGTERM")

    async def _close(self, week: str) -> None:
        """Ask for a week's report, however often PostgreSQL is away."""
        while True:
            try:
                await asyncio.to_thread(self._stack.run, "close", week, "--by", "chaos", "--wait", "0")
            except PartFailedError:
                await asyncio.sleep(0.5)
            else:
                return

    async def _settle(self) -> None:
        """All services run and are ready again."""
        for service in self._stack.services.values():
            service.spawn()
        for service in self._stack.services.values():
            try:
                await asyncio.to_thread(service.wait_ready, self._patience)
            except LocalError as error:
                self._unruly.append(str(error))

    async def _counted(self, connection: Connection) -> None:
        """Every position at the end of the log and every week published, or a violation that says what is not."""
        try:
            await kafka_log.counted(connection, self._stack.kafka.bootstrap, seconds=self._patience)
        except AssertionError:
            ends, positions = await kafka_log.ends(self._stack.kafka.bootstrap), await next_offsets(connection)
            behind = {place: (positions.get(place), end) for place, end in ends.items() if positions.get(place) != end}
            self._unruly.append(f"{UNFINISHED}; position and end: {behind}")
            return
        try:
            await self._published(connection)
        except AssertionError as late:
            self._unruly.append(str(late))

    async def _published(self, connection: Connection) -> None:
        """Wait until every week that was asked for is published and sent."""

        async def done() -> bool:
            open_weeks = await connection.fetchval(
                "SELECT count(*) FROM week_close WHERE state NOT IN ('published', 'final')"
            )
            unsent = await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL")
            return bool(open_weeks == unsent == 0)

        await until(done, "every week published and the outbox empty", self._patience)
