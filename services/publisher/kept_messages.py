"""Completes the stored messages of `report-ready`, which streams of announcements read (`site/announcement_stream.py`).

The outbox retains each message that this publisher sent. It lacks those of revisions that `ddor recover` restored, and
those that an earlier release deleted 30 days after sending. The topic has them, byte for byte.

After the loss of the topic, the opposite: `send_again` lets the relay send the messages that the topic lacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import asyncpg

from schemas.announcement import final_id, report_id
from schemas.topics import CONTENT_TYPE, REPORT_READY
from services.publisher import announcements
from services.publisher.announcements import Announced
from services.publisher.queries import SQL
from services.runtime.errors import CallerError
from services.runtime.logs import get

log = get(__name__)


async def complete(connection: asyncpg.Connection[Any], client: Mapping[str, Any]) -> int:
    """Store the messages that the outbox lacks, from the topic. Returns their number.

    Call it after `recovery.check`: then each announcement on the topic has the digest that the database has. Without
    a missing message, the topic is not read.
    """
    lacking = await _lacking(connection)
    if not lacking:
        return 0
    found: set[str] = set()
    async with aclosing(announcements.read(client)) as listed:
        async for one in listed:
            if isinstance(one, Announced) and one.event_id in lacking and one.event_id not in found:
                found.add(one.event_id)
                await _add(connection, one)
    log.info("messages-completed", messages=len(found), not_on_topic=len(lacking) - len(found))
    return len(found)


class PublisherLeadsError(CallerError):
    """A publisher runs and sends announcements. Stop all publishers, then run this again."""


async def send_again(connection: asyncpg.Connection[Any], client: Mapping[str, Any]) -> list[str]:
    """Mark the sent announcements that the topic lacks as unsent. Returns the ids of their events.

    The next relay sends the same bytes, in the order of publication. Of each week, the newest revision is sent to
    `report-latest`, too. The caller must end the session of the connection afterwards: it holds the lead, so that no
    publisher sends in the meantime. Raises PublisherLeadsError.
    """
    if not await connection.fetchval(SQL["try_lead"]):
        raise PublisherLeadsError("a publisher leads this database: stop all publishers, then run this again")
    async with aclosing(announcements.read(client)) as listed:
        present = {(one.event_id, one.value) async for one in listed if isinstance(one, Announced)}
    sent = await connection.fetch(SQL["sent_announcements"])
    lost = [row for row in sent if (row["event_id"], row["value"]) not in present]
    async with connection.transaction():
        await connection.execute(SQL["send_again"], [row["id"] for row in lost])
        await connection.execute(SQL["send_latest_again"], [row["id"] for row in lost])
    return [row["event_id"] for row in lost]


async def _lacking(connection: asyncpg.Connection[Any]) -> set[str]:
    """The ids of events that were announced, and are not in the outbox."""
    announced = {report_id(row["week"], row["revision"]) for row in await connection.fetch(SQL["published"])}
    announced |= {final_id(row["week"]) for row in await connection.fetch(SQL["final_weeks"])}
    return announced - {row["event_id"] for row in await connection.fetch(SQL["announced_ids"])}


async def _add(connection: asyncpg.Connection[Any], one: Announced) -> None:
    headers = {"content-type": CONTENT_TYPE, "id": one.event_id}
    stamp = round(one.published_at.timestamp() * 1000)
    await connection.execute(
        SQL["add_sent"], REPORT_READY, str(one.week).encode(), one.value, headers, stamp, one.published_at, one.offset
    )
