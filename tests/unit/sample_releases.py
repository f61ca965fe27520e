"""Releases of one file, imported one after the other into a ledger that counts as the aggregator does."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from services.importer import index
from services.importer.ice_detainers.identity import Described, Identities
from services.importer.ice_values import Lift, events
from services.importer.journal import Journal
from services.importer.rows import Row
from services.importer.sending import Envelopes, Sender
from services.importer.superseding import Overlap, Superseding

DECLINED, LIFTED, DUPLICATE = Lift(declined=True), Lift(), Lift(withdrawn="duplicate-record")


@dataclass(frozen=True, slots=True)
class Released:
    """A row of a released file: who, where, what became of the detainer, and whether ingest refuses it."""

    person: str = "a" * 8
    born: str = "1990"
    facility: str = "CLARKNV"
    jurisdiction: str = "32003"
    lift: Lift = LIFTED
    refused: bool = False


Release = Sequence[Released]


def rows_of(release: Release) -> Iterator[Row]:
    """The rows of a release, as the profile gives them."""
    identities = Identities("demo")
    for number, one in enumerate(release, start=1):
        day = date(2026, 2, 11)
        row = Described(day, one.facility, "JAIL", "TOWN", "NEVADA", "I-247A", one.person, (one.born,))
        identity = identities.next(row)
        data: dict[str, object] = {
            "detainer_id": identity.detainer_id,
            "version": 1,
            "jurisdiction": one.jurisdiction,
            "facility": "REFUSED" if one.refused else one.facility,
            "issued_at": "2026-02-11T12:00:00-05:00",
        }
        yield Row(number, events(data, one.lift), None, part="sheet 'A'", identity=identity)


class KilledError(Exception):
    """The process ends here."""


@dataclass(slots=True)
class Ledger:
    """The facts with the highest version. It ends the process at the request `kill_at`, before or after storing."""

    facts: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    sent: list[dict[str, Any]] = field(default_factory=list)
    kill_at: int | None = None
    stored_first: bool = False
    requests: int = 0

    async def send(self, lines: list[bytes]) -> list[dict[str, Any]]:
        """Receipts of these events."""
        self.requests += 1
        killed = self.requests == self.kill_at
        if killed and not self.stored_first:
            raise KilledError
        receipts = [self._receipt(json.loads(line)) for line in lines]
        if killed:
            raise KilledError
        return receipts

    def _receipt(self, event: dict[str, Any]) -> dict[str, Any]:
        data, kind = event["data"], event["type"].removeprefix("detainer-")
        if data.get("facility") == "REFUSED" and kind == "declined":
            return {"status": "rejected", "code": "out-of-range", "detail": "data.version: too low"}
        self.sent.append(event)
        known = self.facts.get((data["detainer_id"], kind))
        if known is None or known["version"] < data["version"]:
            self.facts[data["detainer_id"], kind] = data
        elif known["version"] == data["version"]:
            assert known == data, "a conflict: two contents under one version"
        return {"status": "accepted", "topic": event["type"], "partition": 0, "offset": len(self.sent)}

    def counted(self) -> Counter[tuple[str, str, str]]:
        """What counts: kind, jurisdiction and facility of each fact that is not withdrawn."""
        return Counter(
            (kind, data["jurisdiction"], data["facility"])
            for (_, kind), data in self.facts.items()
            if not data.get("withdrawn")
        )


async def import_release(
    ledger: Ledger, directory: Path, name: str, release: Release, supersedes: str | None = None
) -> tuple[Journal, Overlap | None]:
    """Import or continue, as the command does."""
    journal = Journal(directory / name, "demo", name, "ice-detainers", indexed=True, supersedes=supersedes)
    assert journal.index is not None
    try:
        earlier = Superseding(journal.index, directory / supersedes / index.NAME, name) if supersedes else None
        overlap, rows = None, rows_of(release)
        if earlier is not None:
            assert sum(earlier.compare(rows)) == len(release)
            overlap = earlier.match()
            earlier.claim()
            rows = earlier.rows(rows_of(release))
        then = partial(earlier.gone, "not in this release") if earlier else None
        async for _ in Sender(ledger, Envelopes("demo", name)).run(rows, journal, then):
            pass
        if earlier is not None:
            earlier.finish(journal.progress.rows)
        journal.index.finish()
    finally:
        journal.close()
    return journal, overlap
