"""One run: a new system, producers, blows, and the verdict."""

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
"""The start of the violation that lists lagging positions."""
_READY_SECONDS = 15
_LOG_LINES = 8


class StalledError(Exception):
    """No event was acknowledged for too long. The message gives the state of all parts and services."""


@dataclass(slots=True)
class Outcome:
    """The result of a run."""

    seed: int
    blows: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    seconds: float = 0.0
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def good(self) -> bool:
        """Whether there were no violations."""
        return not self.verdict.violations


class Chaos:
    """Starts a system in `directory`, applies the scheduled blows while events stream in, and returns the verdict."""

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
        """`patience`: timeout in seconds for the next acknowledged event, and at the end for all reports."""
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
        # Disable gates: the random events would trigger all of them.
        settings = {"DDOR_LOG_FORMAT": "json", "DDOR_HOLD": "0"}
        self._stack = Stack(
            directory / "state", kafka, postgres, first_week="2099-01-03", settings=settings, command=command
        )
        self._acknowledged = Acknowledged()
        self._gate = Gate(self._acknowledged)

    async def run(self) -> Outcome:
        """Execute the run. Parts and services are stopped afterwards, and their data deleted."""
        try:
            await asyncio.to_thread(self._up)
            began = time.monotonic()
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._producing())
                    tasks.create_task(self._hitting())
            except* StalledError as stalled:
                self._unruly += map(str, stalled.exceptions)
            else:
                await self._settle()
                async with looking(database_dsn(self._stack.postgres.dsn, DATABASE)) as connection:
                    await self._counted(connection)
                    self._outcome.verdict = await verify(connection, self._stack.kafka.bootstrap, self._acknowledged)
            self._outcome.verdict.violations += self._unruly
            self._outcome.seconds = time.monotonic() - began
            self._outcome.acknowledged = len(self._acknowledged.addresses)
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
        """Apply each blow to a working service while events stream in, and request closes in between."""
        weeks = list(WEEKS)
        for number, blow in enumerate(self._blows):
            await self._at_work(blow.target)
            self._gate.limit = blow.after + self._step * 3 // 4
            await self._acknowledges(blow.after, number)
            await self._hit(blow)
            self._outcome.blows[blow.name] += 1
            if weeks and number >= len(self._blows) * (len(WEEKS) - len(weeks) + 1) // (len(WEEKS) + 1):
                await self._close(weeks.pop(0))
        self._gate.limit = 10 * self._events + 1_000
        for week in weeks:
            await self._close(week)
        await self._acknowledges(self._events, len(self._blows))

    async def _acknowledges(self, least: int, blows: int) -> None:
        """Wait until `least` events are acknowledged. Raises StalledError."""
        last, since = -1, time.monotonic()
        while (now := len(self._acknowledged.addresses)) < least:
            self._progress(now, blows)
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > self._patience:
                raise StalledError(await asyncio.to_thread(self._state))
            await asyncio.sleep(0.02)
        self._progress(now, blows)

    def _state(self) -> str:
        """Whether each part and service runs, and the last lines of its log."""
        lines = [f"no event was acknowledged for {self._patience:.0f} s; blows so far: {dict(self._outcome.blows)}"]
        for name, part in self._parts.items():
            lines.append(f"{name}: {'responds' if part.running() else 'does not respond'}")
        for name, service in self._stack.services.items():
            state = "ready" if service.ready() else "not ready" if service.running() else "not running"
            last = service.process.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            lines += [f"{name}: {state}", *(f"  {line}" for line in last)]
        return "\n".join(lines)

    async def _at_work(self, target: str) -> None:
        """Wait briefly for a service to recover from an earlier blow. If it does not, the next blow hits it anyway."""
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
            await asyncio.sleep(blow.seconds / 3)  # so that it finds its leases lost and acquires others
        else:
            await asyncio.to_thread(self._end, service, blow)
            service.spawn()

    def _end(self, service: Service, blow: Blow) -> None:
        if blow.act == "kill":
            service.kill()
        elif not service.stop():
            self._unruly.append(f"{service.name} did not end on SIGTERM")

    async def _close(self, week: str) -> None:
        """Request a week's report, with retries while PostgreSQL is away."""
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
        """Wait until all positions are at the end of the log and all weeks published; otherwise record a violation."""
        try:
            await kafka_log.counted(connection, self._stack.kafka.bootstrap, seconds=self._patience)
        except AssertionError:
            ends, positions = await kafka_log.ends(self._stack.kafka.bootstrap), await next_offsets(connection)
            lagging = {
                partition: (positions.get(partition), end)
                for partition, end in ends.items()
                if positions.get(partition) != end
            }
            self._unruly.append(f"{UNFINISHED}; position and end: {lagging}")
            return
        try:
            await self._published(connection)
        except AssertionError as late:
            self._unruly.append(str(late))

    async def _published(self, connection: Connection) -> None:
        """Wait until every requested week is published and sent."""

        async def done() -> bool:
            open_weeks = await connection.fetchval(
                "SELECT count(*) FROM week_close WHERE state NOT IN ('published', 'final')"
            )
            unsent = await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL")
            return bool(open_weeks == unsent == 0)

        await until(done, "every week published and the outbox empty", self._patience)
