"""Invariant 2 on the whole system: each service is killed with SIGKILL during an import, and every sum is exact.

The expected sums are counted here from the rows of the file and the import's list of rejects.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deploy.local.errors import PartFailedError
from deploy.local.parts import KafkaPart
from deploy.local.stack import Stack
from schemas.week import ReportingCalendar
from services.importer import acceptance_week, ice_foia
from services.importer.files import InputFile
from tests.support import kafka_log
from tests.support.model import ZONE, week_of
from tests.support.positions import Connection, accounts
from tests.support.stacks import looking
from tests.support.waiting import until

pytestmark = pytest.mark.real_kafka("is not used where processes are killed")

_FIGURES = Path(__file__).parents[2] / "deploy" / "demo" / "2017-01-28.csv"
_AGENCY = "demo"

Cell = tuple[date, str, str]


@dataclass(frozen=True)
class DataSet:
    """A file to import, under a name."""

    file: Path
    profile: str
    name: str

    def expected(self, rejects: set[int]) -> Counter[Cell]:
        """The expected number of events by week, jurisdiction and kind, without rejected rows."""
        reader = {"ice-foia": ice_foia, "acceptance-week": acceptance_week}[self.profile]
        cells: Counter[Cell] = Counter()
        for row in reader.read(InputFile(self.file), _AGENCY, self.name, ReportingCalendar(ZONE)):
            for event in row.events if row.number not in rejects else ():
                at = event.data["issued_at"] if event.kind == "issued" else event.data["recorded_at"]
                week = week_of(datetime.fromisoformat(str(at).replace("Z", "+00:00")))
                cells[week, str(event.data["jurisdiction"]), event.kind] += 1
        return cells


_RELEASED = os.environ.get("DDOR_FOIA_FILE")
_DATA = {
    "acceptance week": [DataSet(_FIGURES, "acceptance-week", f"kills-{number}") for number in range(5)],
    "released file": [DataSet(Path(_RELEASED or ""), "ice-foia", "kills")],
}


@pytest.mark.parametrize(
    "data",
    [
        "acceptance week",
        pytest.param(
            "released file",
            marks=[
                pytest.mark.skipif(not _RELEASED, reason="the released file is missing (set DDOR_FOIA_FILE)"),
                pytest.mark.long("the same with three times as many events"),
            ],
        ),
    ],
)
async def test_kill_9_of_each_service_changes_no_sum(
    system: Stack, own_kafka: KafkaPart, empty_database: str, tmp_path: Path, data: str
) -> None:
    importing = asyncio.create_task(_import_all(system, tmp_path, _DATA[data]))
    async with looking(empty_database) as connection:
        for step, name in enumerate(("aggregator", "ingest", "publisher", "aggregator", "ingest"), start=1):
            await until(partial(_records, connection, step * 2_000), "records counted")
            service = system.services[name]
            await asyncio.to_thread(service.kill)
            await asyncio.to_thread(service.spawn)
        killed_during = not importing.done()
        done = await importing
        for service in system.services.values():
            await asyncio.to_thread(service.wait_ready)
        await kafka_log.counted(connection, own_kafka.bootstrap)
        assert killed_during, "the kills were during the import"

        expected: Counter[Cell] = Counter()
        for one, journal in done:
            expected += one.expected(_rejects(journal))
        counted = {
            (row["week"], row["jurisdiction"], row["kind"]): row["n"]
            for row in await connection.fetch("SELECT week, jurisdiction, kind, n FROM weekly_counter")
        }
        assert counted == dict(expected)
        for account in (await accounts(connection)).values():
            assert account["records"] == account["facts"] + account["duplicates"]
        assert await connection.fetchval("SELECT count(*) FROM ledger") == sum(expected.values())
        assert await connection.fetchval("SELECT count(*) FROM history") == 0
        await _every_receipt_is_on_the_log(own_kafka, [journal for _, journal in done])


async def _import_all(system: Stack, directory: Path, data: list[DataSet]) -> list[tuple[DataSet, Path]]:
    done = []
    for one in data:
        journal = directory / f"journal-{one.name}"
        arguments = ("--profile", one.profile, "--dataset", one.name, "--journal", str(journal))
        while True:
            try:
                await asyncio.to_thread(system.run, "import", str(one.file), *arguments)
                break
            except PartFailedError as failure:
                # `run` limits a command to two minutes. The same command resumes the import.
                if "took more than" not in str(failure):
                    raise
        done.append((one, journal))
    return done


def _rejects(journal: Path) -> set[int]:
    with (journal / "rejects.csv").open(newline="") as file:
        return {int(row["row"]) for row in csv.DictReader(file)}


async def _records(connection: Connection, least: int) -> bool:
    found = await connection.fetchval("SELECT COALESCE(sum(records), 0) FROM partition_position")
    return bool(found >= least)


async def _every_receipt_is_on_the_log(kafka: KafkaPart, journals: list[Path]) -> None:
    """Invariant 3: each acknowledged address has the acknowledged event, found by its identity."""
    there: dict[tuple[str, int, int], Any] = {}
    for partition in kafka_log.EVENT_PARTITIONS:
        for record in await kafka_log.read(kafka.bootstrap, partition.topic, partition.number):
            there[partition.topic, partition.number, record.offset] = record.value
    receipts = [
        json.loads(line) for journal in journals for line in (journal / "receipts.ndjson").read_text().splitlines()
    ]
    addresses = [(one["topic"], one["partition"], one["offset"]) for one in receipts]
    assert len(set(addresses)) == len(addresses)
    assert set(addresses) <= there.keys()
    for receipt, address in list(zip(receipts, addresses, strict=True))[::97]:
        event = json.loads(there[address])
        assert event["type"] == f"detainer-{receipt['kind']}"
        assert event["id"].endswith(f"/{receipt['row']}/{receipt['kind']}")
