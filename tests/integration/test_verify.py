"""Invariant 6: replaying the log up to a report's offsets gives its figures. Alterations are found."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from deploy.local.parts import KafkaPart
from services.publisher.queries import SQL
from services.publisher.site.rendering import as_json
from services.runtime.settings import Settings
from tests.support import commands, events, kafka_log
from tests.support.batches import CALENDAR
from tests.support.golden import first_week
from tests.support.kafka_log import Message
from tests.support.life import Life, living

WEEK = CALENDAR.week(date(2017, 1, 28))
RESTATEMENTS = 20
_AGENCY = (
    '[[agency]]\nname = "{name}"\nkey_sha256 = ["{key}"]\nkinds = ["issued", "declined"]\njurisdictions = ["{scope}"]\n'
)


@dataclass(frozen=True)
class Published:
    """The first report's week, with an internal error for one record, restated twenty times."""

    life: Life
    log: list[Message]

    async def verify(self, what: str, *more: str) -> commands.Done:
        return await commands.ddor(self.life.settings, "verify", what, *more)


def acceptance() -> list[Message]:
    """The events that the importer sends for the first report's week."""
    return [
        Message(one["type"], json.dumps(one).encode(), one["subject"].encode(), headers=events.HEADERS)
        for one in first_week()
    ]


@pytest.fixture(scope="module")
async def published(
    own_kafka: KafkaPart, module_database: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Published]:
    agencies = tmp_path_factory.mktemp("agencies") / "agencies.toml"
    agencies.write_text(_AGENCY.format(name="demo", key="0" * 64, scope="*"))
    where: dict[str, Any] = {"kafka_bootstrap": own_kafka.bootstrap, "agencies_file": agencies}
    settings = Settings(postgres_dsn=SecretStr(module_database), first_week=WEEK.first, **where)
    async with living(settings, WEEK) as life:
        log = [
            *acceptance(),
            events.attesting(events.attested(str(WEEK), issued=3083, declined=207), agency="demo"),
        ]
        await life.write(*log)
        log.append(failing := events.message("issued", events.issued(9_000), agency="demo"))
        (address,) = await kafka_log.append(settings.kafka_bootstrap, [failing])
        await life.counter.fail(*address)
        await life.close(WEEK)
        assert await life.state(WEEK) == "closed", "no gate holds the week"
        for number in range(RESTATEMENTS):
            log.append(late := _late(number))
            await life.write(late)
            if number == 5:
                agencies.write_text(
                    _AGENCY.format(name="west", key="1" * 64, scope="3*")
                    + _AGENCY.format(name="demo", key="0" * 64, scope="1*")
                )
            await _restate(life, f"number {number}")
        await life.send()
        yield Published(life, log)


async def _restate(life: Life, reason: str) -> None:
    life.publisher.clock.now += timedelta(minutes=1)
    await life.connection.execute(SQL["request_restatement"], WEEK.first, "Ada", reason, life.publisher.clock.now)
    await life.publisher.step()


def _late(number: int) -> Message:
    at = (WEEK.begins_at + timedelta(days=1)).isoformat()
    data = events.declined(5_000 + number, issued_at=at, declined_at=at, recorded_at=at, jurisdiction="32031")
    return events.message("declined", data, agency="demo")


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        ("jsonb_set(figures, '{changes,0,causes}', '{\"late\": 2}')", "✗ causes"),
        (
            "jsonb_set(figures, '{changes,0,causes}', '{\"redriven\": 1}')",
            "✗ changes.32031 declined.causes.late: report None, log 1",
        ),
        ("jsonb_set(figures, '{changes}', '[]')", "✗ changes"),
        ("jsonb_set(figures, '{scope,late}', '7')", "✗ scope.late: report 7, log 2"),
        ("jsonb_set(figures, '{table_changes}', '[]')", "✗ table changes"),
    ],
)
async def test_the_changes_of_a_revision_are_compared_with_the_one_before(
    published: Published, harm: str, named: str
) -> None:
    connection = published.life.connection
    figures = await connection.fetchval("SELECT figures FROM report WHERE revision = 3")
    try:
        await connection.execute(f"UPDATE report SET figures = {harm} WHERE revision = 3")
        done = await published.verify(f"{WEEK}@3")
    finally:
        await connection.execute("UPDATE report SET figures = $1 WHERE revision = 3", figures)
    assert (done.exit_code, named in done.output) == (1, True), done.output


async def test_invariant_6_the_log_up_to_its_offsets_gives_each_revisions_digest(published: Published) -> None:
    revisions = await published.life.revisions()
    assert revisions == [(str(WEEK), 1, "initial")] + [(str(WEEK), n, "correction") for n in range(2, RESTATEMENTS + 2)]
    first = await published.life.report(WEEK, 1)
    assert first["totals"] == {"issued": 3083, "declined": 206}
    row = "INSERT INTO verification (week, records, is_sample, outcome) VALUES ($1, 1, false, 'x')"
    await published.life.connection.execute(row, WEEK.first)
    digests = {(await published.life.report(WEEK, n))["inputs"]["agencies"] for n in (1, RESTATEMENTS + 1)}
    assert len(digests) == 2, "the agencies have changed in between"
    for what in (f"{WEEK}@1", f"{WEEK}@7", f"{WEEK}", ""):
        done = await published.verify(what)
        assert done.exit_code == 0, done.output
        assert ("✓ causes: match the log" in done.output) is not what.endswith("@1")
        assert "✗" not in done.output
        for found in ("document digest", "figures digest", "report-ready", "chain", "inputs", "replay"):
            assert f"✓ {found}" in done.output, found
    assert not await published.life.connection.fetch("SELECT FROM pg_namespace WHERE nspname LIKE 'ddor_verify%'")


_COLUMNS = "week, revision, cause, digest, figures_digest, previous_digest, figures, published_at, sequence"
"""All columns of `report` that are not generated."""
HARM = {
    "a figure": (
        "UPDATE report SET figures = jsonb_set(figures, '{totals,declined}', '207') WHERE revision = 1",
        1,
        ["document digest", "totals.declined: report 207, announcement 206", "log 206"],
    ),
    "a cell": (
        "UPDATE report SET figures = jsonb_set(figures, '{jurisdictions,0,declined}', '50') WHERE revision = 1",
        1,
        ["jurisdictions.32003.declined: report 50", "log 51"],
    ),
    "a table": (
        "UPDATE report SET figures = jsonb_set(figures, '{tables,offenses_not_known}', '7') WHERE revision = 1",
        1,
        ["figures digest", "tables.offenses_not_known: report 7, log"],
    ),
    "what an agency attests": (
        "UPDATE report SET figures = jsonb_set(figures, '{scope,agencies,0,attested_declined}', '206')"
        " WHERE revision = 1",
        1,
        ["document digest", "scope.agencies.demo.attested_declined: report 206, log 207"],
    ),
    "what a gate found": (
        "UPDATE report SET figures = jsonb_set(figures, '{flags}',"
        ' \'[{"gate": "open-conflicts", "subject": "facts", "detail": "2 facts"}]\')'
        " WHERE revision = 1",
        1,
        ["document digest", "✗ flags", "log None"],
    ),
    "an offset of the attestations": (
        "UPDATE report SET figures = jsonb_set(figures, '{offsets,week-attested,0}', '0') WHERE revision = 1",
        1,
        ["offsets.week-attested.0: report 0", "scope.agencies.demo.status: report differing"],
    ),
    "an offset": (
        "UPDATE report SET figures = jsonb_set(figures, '{offsets,detainer-issued,3}', '5') WHERE revision = 1",
        1,
        ["document digest", "offsets.detainer-issued.3: report 5", "totals.issued"],
    ),
    "an offset beyond the log": (
        "UPDATE report SET figures = jsonb_set(figures, '{offsets,detainer-issued,3}', '99999') WHERE revision = 1",
        1,
        ["offsets.detainer-issued.3: report 99999", "the report needs [0, 99999)"],
    ),
    "an input": (
        "UPDATE input SET content = replace(convert_from(content, 'UTF8'), 'Clark', 'Klark')::bytea"
        " WHERE name = 'jurisdictions'",
        1,
        ["input jurisdictions: does not have the digest"],
    ),
    "an input that is gone": (
        "DELETE FROM input WHERE name = 'reasons'",
        2,
        ["InputMissing", "the input reasons"],
    ),
    "the rules by which a part of the log was read": (
        "INSERT INTO acceptance_rules VALUES ('detainer-issued', 3, 5, 99)",
        2,
        ["OtherRules", "acceptance rules 99 from detainer-issued/3/5 on"],
    ),
    "the chain": (
        "UPDATE report SET figures = jsonb_set(figures, '{previous_digest}', to_jsonb(repeat('a', 64)))"
        " WHERE revision = 1",
        1,
        ["✗ chain", "previous_digest: report aaaa"],
    ),
    "the digest in the table": (
        "UPDATE report SET digest = repeat('b', 64) WHERE revision = 1",
        1,
        ["✗ table report"],
    ),
}


@pytest.mark.parametrize("what", HARM)
async def test_an_alteration_is_named(published: Published, what: str) -> None:
    harm, code, named = HARM[what]
    connection = published.life.connection
    await connection.execute("CREATE TABLE kept AS TABLE report; CREATE TABLE kept_input AS TABLE input")
    try:
        await connection.execute(harm)
        done = await published.verify(f"{WEEK}@1")
    finally:
        await connection.execute(
            f"TRUNCATE report, published_figure, line_list, input, acceptance_rules;"
            f" INSERT INTO report ({_COLUMNS}) SELECT {_COLUMNS} FROM kept;"
            " INSERT INTO input SELECT * FROM kept_input; DROP TABLE kept, kept_input"
        )
    assert done.exit_code == code, done.output
    for words in named:
        assert words in done.output, done.output


@pytest.mark.parametrize("what", ["2017-01-28@99", "2017-01-28@x", "2017-01-29", "2017-02-04"])
async def test_an_unknown_report_cannot_be_verified(published: Published, what: str) -> None:
    done = await published.verify(what)
    assert done.exit_code == 2, done.output


async def test_a_downloaded_report_is_verified_offline(published: Published, tmp_path: Path) -> None:
    files = []
    for revision in (1, 2, 3):
        files.append(tmp_path / f"{revision}.json")
        files[-1].write_bytes(as_json(await published.life.report(WEEK, revision)))
    settings = published.life.settings
    nowhere = settings.model_copy(
        update={"kafka_bootstrap": "127.0.0.1:1", "postgres_dsn": SecretStr("postgresql://nobody@127.0.0.1:1/x")}
    )

    async def offline(*arguments: str | Path) -> commands.Done:
        return await commands.ddor(nowhere, "verify", "--against", *map(str, arguments))

    assert (await offline(files[0])).exit_code == 0
    assert (await offline(files[1], "--previous", files[0])).exit_code == 0
    wrong = await offline(files[2], "--previous", files[0])
    assert (wrong.exit_code, "✗ chain" in wrong.output) == (1, True)
    text = files[0].read_text()
    files[0].write_text(text.replace('"declined":206', '"declined":207'))
    altered = await offline(files[0])
    assert altered.exit_code == 1
    assert "✗ document digest" in altered.output
    assert "✗ figures digest" in altered.output
    files[0].write_text(text.replace('"revision":1', '"revision":2'))
    altered = await offline(files[0])
    assert (altered.exit_code, "✓ figures digest" in altered.output) == (1, True)
    files[0].write_text('{"hello": 1}')
    assert (await offline(files[0])).exit_code == 2


async def test_a_later_copy_in_a_lower_partition_makes_no_fact_late(published: Published) -> None:
    """A replay reads the partitions in parallel; a fact keeps the address of its first record."""
    original = next(one for one in published.log if one.topic == "detainer-declined" and one.target.number > 0)
    more = [replace(original, partition=0), _late(RESTATEMENTS)]
    published.log.extend(more)
    await published.life.write(*more)
    await _restate(published.life, "a copy")
    await published.life.send()
    document = await published.life.report(WEEK)
    assert (document["revision"], document["scope"]["late"]) == (RESTATEMENTS + 2, RESTATEMENTS + 1)
    done = await published.verify(f"{WEEK}")
    assert done.exit_code == 0, done.output


@pytest.mark.real_kafka("recreates a deleted topic on a metadata request")
async def test_one_event_that_differs_in_the_log_is_named(published: Published, own_kafka: KafkaPart) -> None:
    """Last in this module: rewrites the log with one changed record."""
    topic = "detainer-declined"
    mine = [one for one in published.log if one.topic == topic]
    index = next(n for n, one in enumerate(mine) if b'"32003"' in (one.value or b""))
    mine[index] = replace(mine[index], value=(mine[index].value or b"").replace(b'"32003"', b'"32031"'))
    await kafka_log.recreate(own_kafka.bootstrap, topic)
    await kafka_log.append(own_kafka.bootstrap, mine)
    done = await published.verify(f"{WEEK}@1")
    assert done.exit_code == 1, done.output
    for words in ("jurisdictions.32003.declined: report 51, log 50", "✗ replay", "✓ document digest"):
        assert words in done.output, done.output
    await kafka_log.recreate(own_kafka.bootstrap, topic)
    done = await published.verify(f"{WEEK}@1")
    assert (done.exit_code, "the report needs" in done.output) == (2, True), done.output
