"""services.publisher.desk.page: the page shows everything, and runs nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import re

import pytest

from services.publisher.desk import page
from services.publisher.desk.contents import Growing
from services.publisher.site.responses import ProblemError
from tests.unit.sample_desk import NOW, PARTITION, SPIKE, contents, ends, state, week

HELD = week("held", held_until="2017-02-06 05:00:00+00", held_because=[SPIKE])
ACTION = {"at": "2017-02-05 05:00:00+00", "by": "Ada", "action": "release", "subject": "2017-01-21"}


def shown(text: bytes) -> str:
    """The text of a page, without markup."""
    body = text.decode().partition("<body>")[2]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def test_a_quiet_page_says_so() -> None:
    text = shown(page.render(contents(), None))
    assert "Nothing to act on." in text
    assert "As of 2017-02-05 05:30:00 UTC" in text
    for sentence in ("None is requested, on the way or refused.", "None has failed.", "All messages are sent."):
        assert sentence in text
    assert "This host's clock and that of Kafka unknown" in text
    assert "This host's clock and that of PostgreSQL less than 1 s apart" in text


def test_a_held_week_shows_gate_deadline_and_command() -> None:
    text = page.render(contents(state=state(weeks=[HELD])), None)
    for sentence in (
        "The week 2017-01-28 is held",
        "published with flags at 2017-02-06 05:00:00 UTC",
        "spike, ice-las-vegas: 142 declines; its median week has 9",
    ):
        assert sentence in shown(text)
    (command,) = re.findall(r'<pre class="command">(.*?)</pre>', text.decode())
    assert html.unescape(command) == 'ddor release 2017-01-28 --by "YOUR NAME" --note "WHAT YOU CHECKED"'


def test_rejects_conflicts_silent_agencies_and_actions_are_shown() -> None:
    rejects = [{"topic": "detainer-issued", "reason": "not-json", "n": 1_234}]
    growing = Growing(NOW, rejects, 5, {"2017-01-28": ["ice-las-vegas"]})
    actions = [ACTION | {"detail": {"note": "seen", "more": "y" * 500}}]
    text = shown(page.render(contents(growing=growing, actions=actions), None))
    for sentence in (
        "1,234 detainer-issued, not-json ddor rejected list --reason not-json",
        "Open conflicts 5",
        "Not heard: ice-las-vegas",
        "2017-02-05 05:00:00 UTC release 2017-01-21 by Ada note: seen; more: yyy",
    ):
        assert sentence in text
    assert "y" * 500 not in text


def test_what_could_not_be_counted_is_unknown_and_not_zero() -> None:
    for growing in (None, Growing(NOW, None, None, None)):
        text = shown(page.render(contents(growing=growing), None))
        assert "Open conflicts unknown" in text
        assert "Not counted by reason within the time limit." in text


def test_only_unusual_partitions_are_shown_outside_the_full_list() -> None:
    text = shown(page.render(contents(), None))
    assert "No partition has lag, is halted, is without a worker, or has an open transaction." in text
    late = page.render(contents(state=state(ends(130, since=105))), None)
    assert shown(late).count("detainer-issued/3 100 30 aggregator-1 blocked") == 2
    assert "Lag, records 30" in shown(late)


def test_without_kafka_the_lag_is_unknown() -> None:
    away = contents(away={"Kafka": "no Kafka broker responds"}, clocks={"PostgreSQL": 0.0})
    text = shown(page.render(away, None))
    assert "Kafka cannot be read. no Kafka broker responds." in text
    assert "Lag, records unknown" in text
    assert "Nothing to act on" not in text


def test_without_postgresql_the_page_has_what_the_process_knows() -> None:
    sessions = {
        "closing and sending": "closing and sending: AwayError: PostgreSQL at db:5432 cannot be reached",
        "verification": None,
    }
    away = contents(
        state=None, growing=None, away={"PostgreSQL": "it cannot be reached"}, sessions=sessions, clocks={"Kafka": 75.0}
    )
    text = shown(page.render(away, None))
    for sentence in (
        "PostgreSQL cannot be read. it cannot be reached.",
        "This publisher: closing and sending AwayError: PostgreSQL at db:5432 cannot be reached",
        "This publisher: verification no problem",
        "The clock differs from that of Kafka",
        "75 s ahead",
    ):
        assert sentence in text
    assert "Weeks" not in text


def test_a_page_loads_again_only_if_the_operator_chose_it() -> None:
    assert b"http-equiv" not in page.render(contents(), None)
    chosen = page.render(contents(), page.refresh_seconds(["10"]))
    assert b'<meta http-equiv="refresh" content="10">' in chosen
    assert b'<a href="/desk">Stop</a>' in chosen


@pytest.mark.parametrize("values", [["0"], ["1"], [""], ["10", "10"], ["10;url=//evil.example"], ["-10"]])
def test_no_other_interval_is_accepted(values: list[str]) -> None:
    with pytest.raises(ProblemError):
        page.refresh_seconds(values)


def test_markup_in_any_text_is_escaped_and_the_policy_permits_only_the_style() -> None:
    planted = "<script>alert(1)</script>\"'"
    verification = {"week": "2017-01-14", "verified_at": planted, "records": 1, "is_sample": True, "outcome": planted}
    request = {"week": "2017-01-07", "by": planted, "reason": planted, "requested_at": planted, "offsets": None}
    flag = {"gate": planted, "subject": planted, "detail": planted}
    text = page.render(
        contents(
            state=state(
                partitions=[PARTITION | {"halted_reason": planted, "owner": planted}],
                weeks=[week("held", held_until=planted, held_because=[flag])],
                refused={"2017-01-21": planted},
                verifications=[verification],
                restatements=[request],
                unsent_reports=[planted],
            ),
            growing=Growing(NOW, [{"topic": planted, "reason": planted, "n": 1}], 0, {"2017-01-28": [planted]}),
            actions=[dict.fromkeys(ACTION, planted) | {"detail": {planted: planted}}],
            sessions={planted: planted},
            away={"Kafka": planted},
        ),
        None,
    ).decode()
    assert "<script" not in text
    assert " style=" not in text
    assert text.count("&lt;script&gt;") > 15
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.content_security_policy()
    assert page.content_security_policy().startswith("default-src 'none';")
