"""Three weeks in the life of any release: facts, corrections, rejects, attestations; two weeks closed, one restated."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import httpx

from deploy.local.stack import Stack
from deploy.local.state import AGENCY
from tests.support import events, kafka_log
from tests.support.batches import CALENDAR
from tests.support.kafka_log import Message
from tests.support.positions import Connection
from tests.support.waiting import until

FIRST: Final = CALENDAR.week(date(2017, 1, 28))
SECOND: Final = CALENDAR.next(FIRST)
THIRD: Final = CALENDAR.next(SECOND)
POLICIES: Final = (
    "jurisdiction,enacted,valid_from,valid_to,honors,source,contact\n"
    "32003,2017-01,2017-01-15,,judicial-warrant,https://example.org/policy,Sheriff's Office\n"
)
_PLACES = ("32003", "32031", "36059", "04013")
_BATCH = "application/cloudevents-batch+json"


def detainers(numbers: range, week: Any, **changes: Any) -> Iterator[dict[str, Any]]:
    """An issued event for each number, a decline for each third."""
    for number in numbers:
        at = (week.begins_at + timedelta(hours=5 + number % 150)).isoformat()
        place = {"jurisdiction": _PLACES[number % len(_PLACES)], **changes}
        yield event("issued", events.issued(number, issued_at=at, **place))
        if number % 3 == 0:
            data = events.declined(number, issued_at=at, declined_at=at, recorded_at=at, reason="policy", **place)
            yield event("declined", data)


def event(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    """An event of the demo agency."""
    made = events.envelope(kind, data, agency=AGENCY)
    return made | {"id": f"{kind}/{data['detainer_id']}/{data['version']}"}


def attestation(week: Any, **counts: int) -> dict[str, Any]:
    """The demo agency's count of its week."""
    data = events.attested(str(week), **counts)
    changes = {"type": "week-attested", "subject": str(week), "dataschema": "/schemas/week-attested/1"}
    return events.envelope("issued", data, agency=AGENCY, **changes)


def rejects() -> list[Message]:
    """Records that no release accepts, as another client of Kafka may write them."""
    unknown = events.issued(900, reason="no-such-field")
    return [
        Message("detainer-issued", b"not JSON", b"900", headers=events.HEADERS),
        Message("detainer-issued", events.encoded(event("issued", unknown)), b"901", headers=events.HEADERS),
        Message("detainer-declined", b"\xff\xfe", b"902", headers=events.HEADERS),
    ]


async def live(stack: Stack, connection: Connection, directory: Path, *, policies: bool) -> None:
    """Run the three weeks through the stack's services. The third stays open."""
    async with _client(stack) as http:
        await _send(http, [*detainers(range(60), FIRST), attestation(FIRST, issued=60, declined=20)])
        await kafka_log.append(stack.kafka.bootstrap, rejects())
        await kafka_log.counted(connection, stack.kafka.bootstrap)
        stack.run("close", str(FIRST))
        await _send(http, [*detainers(range(60, 100), SECOND), *_changes()])
        if policies:
            file = directory / "policies.csv"
            file.write_text(POLICIES)
            stack.run("policies", "load", str(file), "--by", "Ada")
        await kafka_log.counted(connection, stack.kafka.bootstrap)
        stack.run("close", str(SECOND))
        await _send(http, [*detainers(range(100, 130), THIRD), *detainers(range(200, 203), FIRST)])
        await kafka_log.counted(connection, stack.kafka.bootstrap)

        async def all_sent() -> bool:
            return not await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL")

        await until(all_sent, "all messages sent")


def _changes() -> Iterator[dict[str, Any]]:
    """Of the first week: late, repeated, moved, withdrawn, and a version after a higher one."""
    yield from detainers(range(180, 184), FIRST)
    yield from detainers(range(3), FIRST)
    yield from detainers(range(4, 6), FIRST, version=3, jurisdiction="36059")
    yield from detainers(range(4, 6), FIRST, version=2)
    yield from detainers(range(9, 10), FIRST, version=2, withdrawn=True, withdrawn_reason="wrong-person")


def _client(stack: Stack) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {stack.state.agency_key()}", "Content-Type": _BATCH}
    return httpx.AsyncClient(base_url=stack.services["ingest"].url, headers=headers, timeout=60, trust_env=False)


async def _send(http: httpx.AsyncClient, some: list[dict[str, Any]]) -> None:
    response = await http.post("/v1/events", content=events.encoded(some))  # type: ignore[arg-type]  # a batch
    assert response.status_code == 200, response.text
