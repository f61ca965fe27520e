"""The first report's week, streamed through three real processes, closed, and read over HTTP and Kafka."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.parts import KafkaPart
from deploy.local.stack import Stack
from schemas.topics import REPORT_READY
from tests.support import kafka_log
from tests.support.positions import accounts, everything
from tests.support.schemathesis_run import assert_as_described
from tests.support.stacks import looking
from tests.support.waiting import until

WEEK = "2017-01-28"
FIGURES = Path(__file__).parents[2] / "deploy" / "demo" / f"{WEEK}.csv"


@pytest.fixture
async def reader(system: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=system.services["publisher"].url, trust_env=False) as client:
        yield client


def _import(system: Stack, journal: Path) -> str:
    arguments = ("--profile", "acceptance-week", "--dataset", "first-report", "--journal", str(journal))
    return system.run("import", str(FIGURES), *arguments)


async def test_the_first_report(
    system: Stack, reader: httpx.AsyncClient, own_kafka: KafkaPart, empty_database: str, tmp_path: Path
) -> None:
    _import(system, tmp_path / "once")
    async with looking(empty_database) as connection:
        await kafka_log.counted(connection, own_kafka.bootstrap)
        assert (await reader.get("/v1/reports")).json() == {"reports": []}, "an import publishes nothing"
        assert (await reader.get("/v1/reports/latest")).status_code == 404
        assert await kafka_log.read(own_kafka.bootstrap, REPORT_READY) == []

        output = system.run("close", WEEK)
        assert "issued 3,083" in output
        assert "declined 206" in output
        document = (await reader.get(f"/v1/reports/{WEEK}.json")).json()
        _is_the_first_report(document)
        _csv_agrees((await reader.get(f"/v1/reports/{WEEK}.csv")).text, document)
        _page_agrees((await reader.get(f"/v1/reports/{WEEK}.html")).text)
        await _one_message(own_kafka, document)

        before = await everything(connection)
        _import(system, tmp_path / "again")
        await kafka_log.counted(connection, own_kafka.bootstrap)
        after = await everything(connection)
        for table in ("ledger_entry", "history", "decline_detail", "weekly_counter", "rejected"):
            assert after[table] == before[table], table
        for account in (await accounts(connection)).values():
            assert account["records"] == account["facts"] + account["duplicates"]
            assert account["facts"] == account["duplicates"], "each record was sent twice"
        assert "issued 3,083" in system.run("close", WEEK), "a closed week is shown, not closed again"
        assert (await reader.get(f"/v1/reports/{WEEK}.json")).json() == document
        await _one_message(own_kafka, document)
        status = json.loads(system.run("status", "--json"))
        totals = status["totals"]
        assert totals["open_conflicts"] == totals["rejected"] == 0
        assert totals["records"] == 2 * totals["duplicates"]
        assert {one["lag"] for one in status["partitions"]} == {0}
    assert "/v1/reports/{name}" in (await reader.get("/docs")).text
    await assert_as_described(system.services["publisher"].url, scratch=tmp_path)


def _is_the_first_report(document: dict[str, Any]) -> None:
    assert document["totals"] == {"issued": 3083, "declined": 206}
    assert document["top_declined"] == 157
    assert len(document["top"]) == 10
    assert [(row["name"], row["state"], row["declined"]) for row in document["top"][:2]] == [
        ("Clark County", "NV", 51),
        ("Nassau County", "NY", 38),
    ]
    assert sum(row["issued"] for row in document["jurisdictions"]) == 3083
    assert sum(row["declined"] for row in document["jurisdictions"]) == 206
    with FIGURES.open(encoding="utf-8") as file:
        given = csv.DictReader(line for line in file if not line.startswith("#"))
        expected = {row["geoid"]: (int(row["issued"]), int(row["declined"])) for row in given}
    shown = {row["geoid"]: (row["issued"], row["declined"]) for row in document["jurisdictions"]}
    assert shown == {geoid: counts for geoid, counts in expected.items() if any(counts)}


def _csv_agrees(text: str, document: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["geoid"], row["name"], row["state"], int(row["issued"]), int(row["declined"])) for row in rows] == [
        (row["geoid"], row["name"], row["state"], row["issued"], row["declined"]) for row in document["jurisdictions"]
    ]
    assert {(row["week_start"], row["week_end"], row["revision"]) for row in rows} == {(WEEK, "2017-02-03", "1")}


def _page_agrees(page: str) -> None:
    for words in ("3,083", "206", "157 of 206", "Clark County, NV", "Nassau County, NY", WEEK):
        assert words in page, words


async def _one_message(kafka: KafkaPart, document: dict[str, Any]) -> None:
    async def sent() -> bool:
        return bool(await kafka_log.read(kafka.bootstrap, REPORT_READY))

    await until(sent, "the report on its topic")
    [message] = await kafka_log.read(kafka.bootstrap, REPORT_READY)
    event = json.loads(message.value or b"")
    assert event["subject"] == WEEK
    assert event["data"]["digest"] == document["digest"]
    assert event["data"]["totals"] == document["totals"]
