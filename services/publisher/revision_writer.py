"""Writes a revision with its inputs, its line list and its announcements, over the connection of the store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import asyncpg

from schemas.announcement import announcement, final_notice, report_id
from schemas.topics import CONTENT_TYPE, REPORT_LATEST, REPORT_READY
from services.publisher import report
from services.publisher.line_list import cells_to_json
from services.publisher.queries import SQL
from services.publisher.report import Draft, RevisionMetadata


@dataclass(frozen=True, slots=True)
class WrittenRevision:
    """A revision that was just written."""

    week: date
    revision: int
    digest: str


class RevisionWriter:
    """Writes revisions and announcements. Every call must be in a transaction."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection

    async def write(self, draft: Draft, metadata: RevisionMetadata, now: datetime) -> WrittenRevision:
        """Write the next revision in the chain: it names the digest of the report before it, of any week.

        The report is serialized and hashed once; the row and the announcements use that document.
        """
        tip = await self._connection.fetchrow(SQL["tip"])
        made = report.build(draft, replace(metadata, previous_digest=tip["digest"] if tip else None))
        document = made.document(draft.document)
        for name, content in draft.inputs.contents.items():
            await self._connection.execute(SQL["add_input"], draft.inputs.digests[name], name, content)
        await self._connection.execute(
            SQL["add_report"], made.week_start, made.revision, made.cause, document["digest"], made.figures_digest,
            made.previous_digest, document, now, tip["sequence"] + 1 if tip else 1,
        )  # fmt: skip
        listed = draft.line_list
        if listed is not None and listed.is_new:
            await self._connection.execute(
                SQL["add_line_list"], made.week_start, made.revision, listed.mode, listed.sha256, listed.content,
                cells_to_json(listed.cells),
            )  # fmt: skip
        value, event_id = announcement(document, now.isoformat()), report_id(made.week_start, made.revision)
        for topic in (REPORT_READY, REPORT_LATEST):
            await self._send(topic, made.week_start, value, event_id, now)
        return WrittenRevision(made.week_start, made.revision, document["digest"])

    async def announce_final(self, week: date, revision: int, digest: str, now: datetime) -> None:
        """Announce that a week is final."""
        value, event_id = final_notice(week, revision, digest, now.isoformat())
        await self._send(REPORT_READY, week, value, event_id, now)

    async def _send(self, topic: str, week: date, value: bytes, event_id: str, now: datetime) -> None:
        headers = {"content-type": CONTENT_TYPE, "id": event_id}
        stamp = round(now.timestamp() * 1000)
        await self._connection.execute(SQL["add_outbox"], topic, str(week).encode(), value, headers, stamp, now)
