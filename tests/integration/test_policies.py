"""Policies limiting detainers: loaded twice, in reports by week, verified, and never a reason for a revision."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from deploy.local.parts import KafkaPart
from schemas.week import ReportingWeek
from services.publisher.policy_file import COLUMNS
from tests.conftest import MakeSettings
from tests.support import commands
from tests.support.life import Life, both, detainer, living, prove_chain
from tests.support.publishing import new_week

NASSAU, TRAVIS, TEXAS = "36059", "48453", "48"


@pytest.fixture
def before() -> ReportingWeek:
    return new_week()


@pytest.fixture
async def life(store_settings: MakeSettings, own_kafka: KafkaPart, before: ReportingWeek) -> AsyncIterator[Life]:
    settings = store_settings(kafka_bootstrap=own_kafka.bootstrap, first_week=before.first)
    async with living(settings, before) as life:
        yield life


class Registry:
    """A file of policies, and the commands on it."""

    def __init__(self, life: Life, file: Path) -> None:
        self._life = life
        self._file = file

    async def load(self, *rows: str, by: str = "Ada") -> commands.Done:
        self._file.write_text("\n".join([",".join(COLUMNS), *rows]))
        return await commands.ddor(self._life.settings, "policies", "load", str(self._file), "--by", by)


@pytest.fixture
def policies(life: Life, tmp_path: Path) -> Registry:
    return Registry(life, tmp_path / "policies.csv")


def row(code: str, since: object, until: object = "", honors: str = "judicial-warrant", contact: str = "") -> str:
    return f"{code},2009-12,{since},{until},{honors},https://example.org/{code},{contact}"


async def test_a_registry_is_loaded_twice_joined_by_week_and_verified(
    life: Life, policies: Registry, before: ReportingWeek
) -> None:
    calendar = life.settings.calendar
    week = calendar.next(before)
    last = week.last
    await life.write(*both([40], before))
    await life.close(before)
    assert (await life.report(before))["policies"] is None
    refused = await policies.load(row(NASSAU, week.first), row(TRAVIS, last, honors="all"))
    assert refused.exit_code == 2
    assert "line 3, honors: must be codes separated by blanks" in refused.err
    assert await life.connection.fetchval("SELECT count(*) FROM policy_registry") == 0, "all or nothing"

    first_rows = [
        row(TRAVIS, last, contact="Travis County Sheriff's Office"),
        row(NASSAU, week.first),
        row(TEXAS, week.first, last - timedelta(days=1)),
    ]
    done = await policies.load(*first_rows)
    assert done.exit_code == 0, done.output
    assert done.out.startswith("version 1: policies 3, jurisdictions 3; added 3, changed 0, removed 0; digest ")
    same = await policies.load(*reversed(first_rows), by="Eve")
    assert same.out.startswith("version 1 is the same"), same.output

    await life.write(*both(range(4), week))
    await life.close(week)
    await life.send()
    published = await life.report(week)
    assert [one["geoid"] for one in published["policies"]] == [NASSAU, TRAVIS]
    assert published["jurisdictions_with_policy"] == 2
    assert b"Sheriff" not in await life.connection.fetchval("SELECT string_agg(content, '') FROM input")

    second = await policies.load(row(NASSAU, week.first, honors="none"), row("06", last))
    assert second.out.startswith("version 2: policies 2, jurisdictions 2; added 1, changed 1, removed 2; digest ")
    after = calendar.next(week)
    await life.write(*both([20], after))
    await life.close(after)
    assert [one["geoid"] for one in (await life.report(after))["policies"]] == ["06", NASSAU]
    assert (await life.report(week))["revision"] == 1, "a changed registry makes no revision"

    await life.write(detainer("declined", 30, week))
    await life.close(calendar.next(after))
    await life.send()
    restated = await life.report(week)
    assert (restated["revision"], [one["geoid"] for one in restated["policies"]]) == (2, ["06", NASSAU])
    assert [(one["geoid"], one["causes"]) for one in restated["changes"]] == [("32003", {"late": 1})]
    assert [one.data["jurisdictions_with_policy"] for one in await life.announced() if not one.final] == [
        None,
        2,
        2,
        2,
        2,
    ]
    assert await prove_chain(life.connection) == 5
    for what in (str(before), f"{week}@1", f"{week}@2", str(after)):
        verified = await commands.ddor(life.settings, "verify", what)
        assert verified.exit_code == 0, verified.output
    await _check_history(life, published, restated)
    await _check_tampering(life, week)


async def _check_history(life: Life, first: dict[str, object], second: dict[str, object]) -> None:
    """Both versions remain, with the digests that the reports name."""
    rows = await life.connection.fetch("SELECT * FROM policy_registry ORDER BY version")
    assert [(one["version"], one["loaded_by"]) for one in rows] == [(1, "Ada"), (2, "Ada")]
    assert rows[0]["contacts"] == {f"{TRAVIS}/{first['week_end']}": "Travis County Sheriff's Office"}
    for one, report in zip(rows, (first, second), strict=True):
        inputs = report["inputs"]
        assert isinstance(inputs, dict)
        assert one["sha256"] == hashlib.sha256(one["content"]).hexdigest() == inputs["jurisdiction_policies"]
    actions = await life.connection.fetch("SELECT by, subject, detail FROM operator_action ORDER BY id")
    assert [(one["by"], one["subject"], one["detail"]["policies"]) for one in actions] == [
        ("Ada", "version 1", 3),
        ("Ada", "version 2", 2),
    ]
    listed = await commands.ddor(life.settings, "policies", "list", "--version", "1")
    assert "Travis County Sheriff's Office" in listed.out, listed.output
    assert rows[1]["sha256"] in listed.out
    assert (await commands.ddor(life.settings, "policies", "list", "--version", "9")).exit_code == 2


async def _check_tampering(life: Life, week: ReportingWeek) -> None:
    """`ddor verify` names an altered policy, an altered number and an altered input."""
    verified = f"{week}@1"
    for path, value, named in (
        ("{policies,0,since}", '"2001-01-01"', "✗ policies.36059.since: report 2001-01-01, log"),
        ("{jurisdictions_with_policy}", "3", "✗ jurisdictions_with_policy: report 3, log 2"),
    ):
        before = await life.report(week, 1)
        await life.connection.execute(
            "UPDATE report SET figures = jsonb_set(figures, $2::text::text[], $3::text::jsonb)"
            " WHERE week = $1 AND revision = 1",
            week.first,
            path,
            value,
        )
        done = await commands.ddor(life.settings, "verify", verified)
        assert (done.exit_code, named in done.output) == (1, True), done.output
        await life.connection.execute(
            "UPDATE report SET figures = $2 WHERE week = $1 AND revision = 1", week.first, before
        )
    await life.connection.execute(
        "UPDATE input SET content = convert_to(replace(convert_from(content, 'UTF8'), 'example', 'other'), 'UTF8')"
        " WHERE name = 'jurisdiction_policies'"
    )
    done = await commands.ddor(life.settings, "verify", verified)
    assert (done.exit_code, "✗ input jurisdiction_policies" in done.output) == (1, True), done.output
