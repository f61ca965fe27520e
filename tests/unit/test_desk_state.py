"""services.publisher.desk: the status document and its findings."""

from __future__ import annotations

import shlex
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from services.publisher.closing import Close, State
from services.publisher.desk import commands
from services.publisher.desk.findings import findings, needs_operator
from services.publisher.desk.state import document, ended_weeks, next_week, not_heard
from services.runtime.agencies import Agency
from services.runtime.settings import Settings
from tests.unit.sample_desk import NOW, PARTITION, SETTINGS, SPIKE, TABLES, WORKER, ends, state, week

FIRST = date(2017, 1, 28)


def test_lag_is_the_end_minus_the_position_and_unknown_without_kafka() -> None:
    assert state(ends(130))["partitions"][0]["lag"] == 30
    assert document(TABLES, None, NOW, SETTINGS)["partitions"][0]["lag"] is None


def test_a_partition_without_a_live_owner_has_no_worker() -> None:
    for owner, workers, expected in (
        ("aggregator-1", [WORKER], False),
        ("aggregator-1", [], True),
        (None, [WORKER], True),
    ):
        found = state(partitions=[PARTITION | {"owner": owner}], workers=workers)
        assert found["partitions"][0]["without_worker"] is expected


def test_the_next_week_is_the_earliest_without_a_report() -> None:
    open_week = state()["next_week"]
    assert (open_week["week"], open_week["state"], open_week["has_ended"]) == ("2017-01-28", "open", True)
    assert (open_week["ends_at"], open_week["due"]) == ("2017-02-04 05:00:00+00:00", "2017-02-05 05:00:00+00:00")
    assert open_week["overdue_seconds"] == 1800.0
    written = next_week({FIRST: Close(State.PUBLISHED)}, SETTINGS, NOW)
    assert written is not None
    assert (written["week"], written["has_ended"], written["overdue_seconds"]) == ("2017-02-04", False, 0.0)


@pytest.mark.parametrize("first", [None, date(2017, 1, 29)])
def test_without_a_valid_first_week_no_next_week_is_known(first: date | None) -> None:
    assert next_week({}, Settings(first_week=first), NOW) is None


def test_ended_weeks_have_no_report_and_are_at_most_five() -> None:
    running = week("requested", week="2017-02-04")
    written = week("published", week="2017-01-21")
    found = state(weeks=[running, written, week("draining")])
    assert ended_weeks(found, SETTINGS.calendar, NOW) == [FIRST]
    many = [week("requested", week=str(FIRST - timedelta(weeks=number))) for number in range(9)]
    assert len(ended_weeks(state(weeks=many), SETTINGS.calendar, NOW)) == 5


def test_an_agency_that_may_send_and_was_not_heard_is_named() -> None:
    def agency(name: str, **more: Any) -> Agency:
        keys = {"name": name, "key_sha256": ["0" * 64], "kinds": ["issued"], "jurisdictions": ["32*"]}
        return Agency.model_validate(keys | more)

    gone = datetime(2017, 1, 28, 5, tzinfo=UTC)
    listed = [agency("silent"), agency("heard"), agency("gone", valid_to=gone), agency("later", valid_from=NOW)]
    assert not_heard({"2017-01-28": {"heard"}}, listed, SETTINGS.calendar) == {"2017-01-28": ["silent"]}


def test_a_healthy_system_has_no_findings() -> None:
    closes = {FIRST: Close(State.PUBLISHED)}
    assert findings(state(closes=closes, weeks=[week("published")])) == []


REFUSED = {"2017-01-21": "refused: causes do not sum"}
VERIFICATION = {"week": "2017-01-21", "outcome": "detainer-issued/3/7: is not counted"}
AUDIT = {"at": "2017-02-05 05:00:00+00", "outcome": "detainer-issued/3: 9 records, 8 facts"}
OLDEST = {"topic": "report-ready", "created_at": "2017-02-05 05:00:00+00", "age_seconds": 301.0}


@pytest.mark.parametrize(
    ("changes", "what", "runbook", "wanted", "stops"),
    [
        ({"workers": []}, "No aggregator runs", "aggregator-not-reading", [], True),
        ({"publisher": None}, "No publisher leads", "session-down", [], True),
        ({"publisher": {"age_seconds": 60.0, "dead": True}}, "No publisher leads", "session-down", [], True),
        (
            {"partitions": [PARTITION | {"halted_reason": "TooManyRejects: 201 of 1,000"}]},
            "detainer-issued/3 is halted",
            "rejected",
            ['ddor resume detainer-issued/3 --by "YOUR NAME"'],
            True,
        ),
        (
            {"partitions": [PARTITION | {"halted_reason": "PositionLost: the log ends at offset 0"}]},
            "detainer-issued/3 is halted",
            "position-lost",
            ['ddor resume detainer-issued/3 --by "YOUR NAME"'],
            True,
        ),
        (
            {"weeks": [week("held", held_until="2017-02-06 05:00:00+00", held_because=[SPIKE])]},
            "The week 2017-01-28 is held",
            "week-held",
            ['ddor release 2017-01-28 --by "YOUR NAME" --note "WHAT YOU CHECKED"'],
            False,
        ),
        ({"weeks": [week("halted")]}, "The week 2017-01-28 is halted", "log-lost", [], False),
        (
            {"refused": REFUSED},
            "A restatement of 2017-01-21 is refused",
            "restatement-refused",
            ["ddor verify 2017-01-21"],
            True,
        ),
        (
            {"verifications": [VERIFICATION]},
            "The report of 2017-01-21 differs from the log",
            "verification-failed",
            ["ddor verify 2017-01-21"],
            True,
        ),
        (
            {"audit": AUDIT},
            "The audit of 2017-02-05 05:00:00 UTC found a difference; no week closes",
            "audit-failed",
            ['ddor audit --by "YOUR NAME"'],
            True,
        ),
        ({"oldest_unsent": OLDEST}, "Messages are not sent", "outbox-old", [], False),
    ],
)
def test_each_problem_is_found_with_its_command_and_runbook(
    changes: dict[str, Any], what: str, runbook: str, wanted: list[str], stops: bool
) -> None:
    changed = state(**changes)
    (found,) = findings(changed)
    assert (found.what, found.runbook, list(found.commands), found.stops) == (what, runbook, wanted, stops)
    assert needs_operator(changed) is stops


def test_an_audit_without_a_difference_is_no_problem() -> None:
    assert findings(state(audit=AUDIT | {"outcome": ""})) == []


def test_a_released_week_is_not_to_be_released_again() -> None:
    assert findings(state(weeks=[week("held", released_by="Ada")])) == []


def test_a_week_is_overdue_half_an_hour_after_it_was_due() -> None:
    later = document(TABLES, ends(), NOW + timedelta(seconds=1), SETTINGS)
    (found,) = findings(later)
    assert found.why == "It was due at 2017-02-05 05:00:00 UTC. It waits for: the publisher to set the barrier."


def test_a_name_in_a_command_is_quoted_for_the_shell() -> None:
    planted = "x; rm -rf / #"
    for command in (commands.list_rejects(planted), commands.resume(planted), commands.verify(planted)):
        assert planted in shlex.split(command)
    assert commands.list_rejects("not-json") == "ddor rejected list --reason not-json"
