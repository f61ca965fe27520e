"""The acceptance rules change in the middle of a week: each fact counts once, and `ddor verify` names both versions."""

from __future__ import annotations

import pytest

from deploy.local.parts import KafkaPart
from schemas.acceptance import RULES_VERSION
from schemas.week import ReportingWeek
from services.aggregator import app as aggregator
from services.aggregator import lease_manager
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import kafka_log
from tests.support.commands import ddor
from tests.support.in_process import running
from tests.support.kafka_log import Message
from tests.support.life import WASHOE, both, detainer, newest
from tests.support.positions import Connection, accounts
from tests.support.publishing import new_week, publishing

_FORMER = RULES_VERSION - 1


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


async def _count(settings: Settings, connection: Connection, facts: list[Message]) -> None:
    """Write the facts, and count them with a whole aggregator."""
    await kafka_log.append(settings.kafka_bootstrap, facts)
    async with running(aggregator.create(settings)):
        await kafka_log.counted(connection, settings.kafka_bootstrap)


async def test_facts_read_under_two_versions_of_the_rules_in_one_week_count_once(
    settings: MakeSettings,
    kafka: KafkaPart,
    connection: Connection,
    week: ReportingWeek,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = settings(first_week=week.first, worker="one")
    first, second = both(range(12), week), both(range(12, 20), week)
    with monkeypatch.context() as former:
        former.setattr(lease_manager, "RULES_VERSION", _FORMER)
        await _count(chosen, connection, first)
    corrected = [
        detainer("issued", 0, week, version=2, jurisdiction=WASHOE),
        detainer("declined", 1, week, version=2, withdrawn=True, withdrawn_reason="wrong-person"),
    ]
    await _count(chosen, connection, [*first, *second, *corrected])

    read = await connection.fetch("SELECT DISTINCT version FROM acceptance_rules ORDER BY 1")
    assert [row["version"] for row in read] == [_FORMER, RULES_VERSION]
    for account in (await accounts(connection)).values():
        assert account["records"] == account["facts"] + account["duplicates"]
    async with publishing(chosen, week.ends_at) as publisher:
        publisher.clock.now = week.ends_at + chosen.grace
        await publisher.steps()
    report = await newest(connection, week)
    assert report["totals"] == {"issued": 20, "declined": 19}
    assert {row["geoid"]: row["issued"] for row in report["jurisdictions"] if row["issued"]}[WASHOE] == 1

    done = await ddor(chosen, "verify", str(week))
    assert done.exit_code == 2, done.output
    assert f"read with acceptance rules {_FORMER} from detainer-" in done.err
    assert f"has {RULES_VERSION}: only a release with acceptance rules {_FORMER} can read" in done.err
