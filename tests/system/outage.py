"""The events that the clients of the guide send, each for its own jurisdiction, and the outage in between."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any

from deploy.local.parts import KafkaPart
from deploy.local.stack import Stack
from tests.support import events
from tests.support.example_clients import LANGUAGES, Running, missing
from tests.support.positions import Connection
from tests.support.waiting import until

THERE = [language for language in LANGUAGES if not missing(language)]
"""The languages whose tool chains are here."""
WEEK = date(2017, 1, 28)
JURISDICTIONS = dict(zip(LANGUAGES, ("32003", "36059", "06037", "17031"), strict=True))
"""A jurisdiction for each client, so that the counters distinguish them."""
DETAINERS = 1_200
KILLED_AT, BACK_AT, CUT_AT = 400, 1_000, 1_300
"""Lines at which each client's input waits: for the kill of Kafka, for its return, for the kill of ingest."""


def _detainer(language: str, number: int) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{language}/{number}")


def data_of(language: str, number: int) -> dict[str, Any]:
    """The data of a client's event about one detainer."""
    return {"detainer_id": str(_detainer(language, number)), "jurisdiction": JURISDICTIONS[language]}


def line_of(kind: str, data: dict[str, Any], id: str) -> bytes:
    """An event of the agency of the stack, as an input line."""
    return events.encoded(events.envelope(kind, data, agency="demo", id=id)) + b"\n"


def lines_of(language: str) -> list[bytes]:
    """Each detainer as issued, every third also as declined."""
    lines = []
    for number in range(DETAINERS):
        data = data_of(language, number)
        lines.append(line_of("issued", events.issued(**data), f"{language}/{number}/issued"))
        if number % 3 == 0:
            lines.append(line_of("declined", events.declined(**data), f"{language}/{number}/declined"))
    return lines


class Outage:
    """Kills and restarts services while the clients send."""

    def __init__(self, system: Stack, kafka: KafkaPart, connection: Connection) -> None:
        self.killed, self.back, self.cut = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._system = system
        self._kafka = kafka
        self._connection = connection

    async def run(self, clients: Sequence[Running]) -> None:
        """Kill Kafka, restart ingest without Kafka, start Kafka, and kill ingest again, while all clients send.

        Each step waits until every client has seen the last: `unavailable`, no response, 503, an interrupted response.
        """
        ingest = self._system.services["ingest"]
        await until(lambda: self._each_has(KILLED_AT // 2), "each client has events counted")
        await asyncio.to_thread(self._kafka.kill)
        self.killed.set()
        await asyncio.gather(*(one.prints("again in ") for one in clients))
        await asyncio.to_thread(ingest.kill)
        ingest.spawn()
        await asyncio.gather(*(one.prints("503 kafka-unavailable: ") for one in clients))
        await asyncio.to_thread(self._kafka.start)
        self.back.set()
        await until(lambda: self._each_has(BACK_AT + 1), "each client has events counted after the outage")
        await asyncio.to_thread(ingest.kill)
        await asyncio.to_thread(ingest.start)
        self.cut.set()

    async def _each_has(self, least: int) -> bool:
        counted = await counters(self._connection)
        totals = Counter({language: counted[language, "issued"] + counted[language, "declined"] for language in THERE})
        return min(totals.values()) >= least

    async def feed(self, client: Running, lines: Sequence[bytes]) -> int:
        """Send a client its lines, a part before each step. Returns its exit code."""
        start = 0
        for end, event in ((KILLED_AT, self.killed), (BACK_AT, self.back), (CUT_AT, self.cut)):
            await client.feed(lines[start:end])
            await event.wait()
            start = end
        await client.feed(lines[start:])
        return await client.ended()


async def counters(connection: Connection) -> Counter[tuple[str, str]]:
    """The counters by language and kind."""
    rows = await connection.fetch("SELECT jurisdiction, kind, n FROM weekly_counter WHERE week = $1", WEEK)
    languages = {jurisdiction: language for language, jurisdiction in JURISDICTIONS.items()}
    return Counter({(languages[row["jurisdiction"]], row["kind"]): row["n"] for row in rows})
