"""Data that each earlier release wrote, migrated to the newest schema: nothing changes, and everything can be read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from deploy.local.parts import KafkaPart, PostgresPart
from schemas.acceptance import RULES_VERSION
from services.cli.verify_document import check_digests
from services.cli.verify_findings import Findings
from services.publisher.snapshot import SnapshotReader
from services.runtime import migrations
from services.runtime import postgres as connecting
from services.runtime.settings import Settings
from tests.former import stored
from tests.former.life import FIRST, SECOND, THIRD, rejects
from tests.former.releases import SCHEMAS
from tests.support import kafka_log, serving
from tests.support.agencies import write_agencies
from tests.support.commands import ddor
from tests.support.life import prove_chain
from tests.support.local_parts import new_database
from tests.support.positions import Connection, accounts
from tests.support.schema_versions import at_version

_REPORTS = (
    "SELECT week, revision, cause, digest, figures_digest, previous_digest, md5(figures::text) AS figures,"
    " published_at, sequence FROM report ORDER BY sequence"
)
_OTHERS = {
    "input": "SELECT sha256, name, md5(content) FROM input ORDER BY sha256",
    "line_list": "SELECT week, revision, mode, sha256, md5(content), cells::text FROM line_list ORDER BY 1, 2",
    "outbox": "SELECT id, topic, key, md5(value), headers::text, sent_at, sent_offset FROM outbox ORDER BY 1",
    "ledger_entry": "SELECT * FROM ledger_entry ORDER BY kind, agency, detainer_id",
    "history": "SELECT * FROM history ORDER BY kind, agency, detainer_id, version, fingerprint",
    "weekly_counter": "SELECT * FROM weekly_counter ORDER BY week, jurisdiction, kind",
    "rejected": "SELECT topic, partition, kafka_offset, reason, field, detail, sha256 FROM rejected ORDER BY 1, 2, 3",
    "attestation": "SELECT * FROM attestation ORDER BY week, agency, version, fingerprint",
    "week_transition": "SELECT * FROM week_transition ORDER BY id",
}
_RULES = {1: 1, 2: 1, 3: 1, 4: 1, 7: 2, 8: 2, 9: 2}
"""The acceptance rules of each release."""
_PAGES = (
    "/", "/reports", f"/reports/{FIRST}", f"/reports/{SECOND}", "/jurisdictions/32003", "/states/NV", "/calendar",
    "/feed.atom", f"/v1/reports/{FIRST}/revisions/1.json", f"/v1/reports/{FIRST}.csv", "/v1/all.csv",
    "/v1/revisions.csv", "/v1/datapackage.zip",
)  # fmt: skip


@dataclass
class Migrated:
    """The database of one earlier release after the migration, and its rows before it."""

    schema: int
    dsn: str
    before: dict[str, list[tuple[Any, ...]]]
    reports: list[asyncpg.Record]


async def _rows(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    queries = {"report": _REPORTS, **_OTHERS}
    return {name: [tuple(row) for row in await connection.fetch(sql)] for name, sql in queries.items()}


@pytest.fixture(scope="module", params=SCHEMAS, ids=lambda schema: f"schema {schema}")
async def migrated(request: pytest.FixtureRequest, postgres: PostgresPart) -> AsyncIterator[Migrated]:
    schema: int = request.param
    with new_database(postgres) as dsn:
        async with at_version(dsn, schema) as connection:
            await stored.load_tables(connection, stored.tables_file(schema).read_bytes())  # small
            before, reports = await _rows(connection), await connection.fetch(_REPORTS)
            await migrations.apply(connection)
        yield Migrated(schema, dsn, before, reports)


@pytest.fixture
async def tables(migrated: Migrated) -> AsyncIterator[Connection]:
    """A connection to the migrated database."""
    connection = await connecting.connect(_settings(migrated), "ddor-test")
    try:
        yield connection
    finally:
        await connection.close()


def _settings(migrated: Migrated, **more: Any) -> Settings:
    return Settings(postgres_dsn=SecretStr(migrated.dsn), first_week=THIRD.first, **more)


async def test_the_recorded_life_has_what_these_tests_need(migrated: Migrated) -> None:
    assert [(row[0], row[1]) for row in migrated.before["report"]] == [
        (FIRST.first, 1),
        (SECOND.first, 1),
        (FIRST.first, 2),
    ]
    assert [name for name, rows in migrated.before.items() if not rows] == []


async def test_no_row_changes(migrated: Migrated, tables: Connection) -> None:
    assert await _rows(tables) == migrated.before


async def test_each_document_has_its_digests_and_its_place_in_the_chain(migrated: Migrated, tables: Connection) -> None:
    assert await prove_chain(tables) == 3
    for row in await tables.fetch("SELECT digest, figures_digest, figures FROM report"):
        findings = Findings()
        check_digests(row["figures"], findings)
        assert not findings.differ
        assert (row["digest"], row["figures_digest"]) == (row["figures"]["digest"], row["figures"]["figures_digest"])


async def test_counters_equal_the_ledger_and_each_record_is_accounted_for(tables: Connection) -> None:
    reader = SnapshotReader(tables)
    await reader.vector()
    for week in (FIRST, SECOND, THIRD):
        await reader.prove(week.first)
    found = await accounts(tables)
    assert sum(one["rejected"] for one in found.values()) == len(rejects())
    for account in found.values():
        assert account["records"] == account["facts"] + account["duplicates"] + account["rejected"]


async def test_all_published_figures_are_rows(tables: Connection) -> None:
    documents = [row["figures"] for row in await tables.fetch("SELECT figures FROM report")]
    rows = await tables.fetch("SELECT week::text, revision, geoid, issued, declined FROM published_figure")
    assert {tuple(row) for row in rows} == {
        (one["week_start"], one["revision"], cell["geoid"], cell["issued"], cell["declined"])
        for one in documents
        for cell in one["jurisdictions"]
    }
    totals = await tables.fetch("SELECT issued, declined, demonstration FROM report ORDER BY sequence")
    assert sorted(map(tuple, totals)) == sorted(
        (one["totals"]["issued"], one["totals"]["declined"], one["demonstration"]) for one in documents
    )


async def test_readers_get_each_page_and_the_same_documents(migrated: Migrated, tables: Connection) -> None:
    document = await tables.fetchval("SELECT figures FROM report ORDER BY sequence DESC LIMIT 1")
    async with (
        serving.reading(_settings(migrated)) as address,
        httpx.AsyncClient(base_url=address, trust_env=False, timeout=60) as http,
    ):
        for path in _PAGES:
            response = await http.get(path)
            assert response.status_code == 200, f"{path}: {response.text}"
        assert (await http.get(f"/v1/reports/{FIRST}.json")).json() == document
        listed = (await http.get("/v1/reports")).json()["reports"]
        assert [(one["week"], one["revision"]) for one in listed] == [(str(SECOND), 1), (str(FIRST), 2)]
        series = (await http.get("/v1/series?geoid=32003")).json()["weeks"]
        assert [one["week"] for one in series] == [str(FIRST), str(SECOND)]


async def test_verify_confirms_the_reports_or_names_the_rules_that_it_lacks(
    migrated: Migrated, own_kafka: KafkaPart, tmp_path: Path
) -> None:
    kafka_log.recreate_topics(own_kafka)
    await stored.load_log(own_kafka.bootstrap, stored.log_file(migrated.schema).read_bytes())
    settings = _settings(
        migrated, kafka_bootstrap=own_kafka.bootstrap, agencies_file=write_agencies(tmp_path / "agencies.toml")
    )
    for what in (f"{FIRST}@1", f"{FIRST}@2", f"{SECOND}@1"):
        done = await ddor(settings, "verify", what)
        if _RULES[migrated.schema] == RULES_VERSION:
            assert done.exit_code == 0, done.output
        else:
            assert done.exit_code == 2, done.output
            assert f"OtherRules: made with acceptance rules {_RULES[migrated.schema]}, but this program" in done.err
