"""A body is sent again, through ingest, Kafka and PostgreSQL: each fact counts once."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter

from deploy.local.service import Service
from tests.conftest import MakeSettings
from tests.support import events, processes
from tests.support.counting import counting
from tests.support.events import CLARK, Document
from tests.support.kafka_log import connected
from tests.support.positions import Connection, accounts
from tests.support.processes import BATCH, post
from tests.support.streams import LINES, Stream

WASHOE = "32031"
Cells = dict[tuple[str, str, str], int]


def detainers() -> list[tuple[str, Document]]:
    """2,000 detainers issued; 100 move to another county by a correction, 50 are withdrawn; 500 are declined."""
    found = [("issued", events.issued(number)) for number in range(2_000)]
    found += [("issued", events.issued(number, version=2, jurisdiction=WASHOE)) for number in range(100)]
    taken_back = {"version": 2, "withdrawn": True, "withdrawn_reason": "entered-in-error"}
    found += [("issued", events.issued(number, **taken_back)) for number in range(100, 150)]
    found += [("declined", events.declined(number)) for number in range(500)]
    return found


EXPECTED: Cells = {
    ("2017-01-28", CLARK, "issued"): 1_850,
    ("2017-01-28", WASHOE, "issued"): 100,
    ("2017-01-28", CLARK, "declined"): 500,
}


def body(sending: str, shuffled: int) -> list[bytes]:
    """The events of `detainers`, with ids of this sending, in shuffled order."""
    lines = [
        events.encoded(events.envelope(kind, data, id=f"{sending}/{number}"))
        for number, (kind, data) in enumerate(detainers())
    ]
    random.Random(shuffled).shuffle(lines)
    return lines


async def cells(connection: Connection) -> Cells:
    rows = await connection.fetch("SELECT week::text, jurisdiction, kind::text, n FROM weekly_counter")
    return {(row["week"], row["jurisdiction"], row["kind"]): row["n"] for row in rows}


async def test_a_resent_body_counts_once(ingest: Service, settings: MakeSettings) -> None:
    """Byte for byte, with other ids, in another order and as batches: the counters stay the same."""
    first, again = body("first", 1), body("again", 2)
    async with (
        processes.client(ingest) as http,
        counting(settings()) as counter,
        connected(settings()) as connection,
    ):
        for number, lines in enumerate((first, first, again), start=1):
            response = await post(http, b"\n".join(lines), LINES)
            assert json.loads(response.text.splitlines()[-1])["summary"]["accepted"] == len(lines)
            await counter.count()
            assert await cells(connection) == EXPECTED, f"sent {number} times"
        for start in range(0, len(first), 500):
            batch = gzip.compress(processes.batch(first[start : start + 500]))
            assert (await post(http, batch, BATCH, **{"Content-Encoding": "gzip"})).status_code == 200
        await counter.count()
        assert await cells(connection) == EXPECTED
        total: Counter[str] = Counter()
        for account in (await accounts(connection)).values():
            total.update(account)
    assert total["records"] == 4 * len(first)
    assert total["facts"] == len(first), "each in the ledger or the history once"
    assert total["duplicates"] == 3 * len(first)
    assert total["rejected"] == 0


async def test_a_body_resent_after_a_cut_counts_once(ingest: Service, settings: MakeSettings) -> None:
    """An agency that lost the connection sends the whole body again, although a part was stored."""
    lines = body("cut", 3)
    cut = b"\n".join(lines[:1_500]) + b"\n" + lines[1_500][:100]
    async with (
        processes.client(ingest) as http,
        counting(settings()) as counter,
        connected(settings()) as connection,
    ):
        stream = await Stream.open(ingest)
        await stream.send(cut)
        assert await stream.status() == 207
        received = stream.lines()
        receipts = [await anext(received) for _ in range(1_000)]
        assert {one["status"] for one in receipts} == {"accepted"}
        stream.abort()
        assert (
            json.loads((await post(http, b"\n".join(lines), LINES)).text.splitlines()[-1])["summary"]["rejected"] == 0
        )
        await counter.count()
        assert await cells(connection) == EXPECTED
