"""What an operator should act on, each with its commands and its runbook. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from services.publisher.closing import State
from services.publisher.desk import commands
from services.publisher.store import REFUSED

_OVERDUE_SECONDS = timedelta(minutes=30).total_seconds()
_OUTBOX_SECONDS = timedelta(minutes=5).total_seconds()
"""As in the alerts WeekOverdue and OutboxOld."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem. `stops`: something does not continue until an operator acts; then `ddor status` exits with 1.

    `details` are further sentences. `then` introduces `commands`. `runbook` is the name of a page in docs/runbooks.
    """

    what: str
    why: str
    runbook: str
    details: tuple[str, ...] = ()
    then: str = ""
    commands: tuple[str, ...] = ()
    stops: bool = True


def findings(state: Mapping[str, Any]) -> list[Finding]:
    """The problems in a status document, most urgent first."""
    return [
        *_services(state),
        *(_halted(one) for one in state["partitions"] if one["halted_reason"]),
        *(_held(one) for one in state["weeks"] if one["state"] == State.HELD and not one["released_by"]),
        *(_lost(one) for one in state["weeks"] if one["state"] == State.HALTED),
        *_audited(state["audit"]),
        *_reports(state),
        *_late(state),
    ]


def utc(text: str | None) -> str:
    """An instant in UTC as PostgreSQL or Python writes it, for people."""
    if text is None:
        return "an unknown time"
    return f"{text.partition('+')[0].partition('.')[0]} UTC"


def needs_operator(state: Mapping[str, Any]) -> bool:
    """Whether something does not continue until an operator acts."""
    return any(one.stops for one in findings(state))


def _services(state: Mapping[str, Any]) -> Iterator[Finding]:
    if all(one["dead"] for one in state["workers"]):
        yield Finding("No aggregator runs", "Nothing is counted.", "aggregator-not-reading")
    publisher = state["publisher"]
    if publisher is None:
        yield Finding("No publisher leads", "None has run yet. No week closes.", "session-down")
    elif publisher["dead"]:
        why = f"The last was seen {publisher['age_seconds']:,.0f} s ago. No week closes."
        yield Finding("No publisher leads", why, "session-down")


def _halted(one: Mapping[str, Any]) -> Finding:
    name, reason = f"{one['topic']}/{one['partition']}", one["halted_reason"]
    is_lost = reason.startswith("PositionLost")
    return Finding(
        f"{name} is halted",
        reason,
        "position-lost" if is_lost else "rejected",
        then="If the log was restored:" if is_lost else "When the cause is corrected:",
        commands=(commands.resume(name),),
    )


def _held(one: Mapping[str, Any]) -> Finding:
    return Finding(
        f"The week {one['week']} is held",
        f"Without a release it is published with flags at {utc(one['held_until'])}.",
        "week-held",
        details=tuple(f"{flag['gate']}, {flag['subject']}: {flag['detail']}" for flag in one["held_because"]),
        then="If the figures are right:",
        commands=(commands.release(one["week"]),),
        stops=False,
    )


def _lost(one: Mapping[str, Any]) -> Finding:
    why = f"It waits for {'; '.join(one['waits_for'])}."
    return Finding(f"The week {one['week']} is halted", why, "log-lost", stops=False)


def _reports(state: Mapping[str, Any]) -> Iterator[Finding]:
    for week, why in state["refused"].items():
        then, wanted = "To see whether the log gives the last revision:", (commands.verify(week),)
        yield Finding(
            f"A restatement of {week} is refused",
            why.removeprefix(REFUSED),
            "restatement-refused",
            then=then,
            commands=wanted,
        )
    for one in state["verifications"]:
        then, wanted = "To compare the report with the whole log:", (commands.verify(one["week"]),)
        what = f"The report of {one['week']} differs from the log"
        yield Finding(what, one["outcome"], "verification-failed", then=then, commands=wanted)


def _audited(one: Mapping[str, Any] | None) -> Iterator[Finding]:
    if one is not None and one["outcome"]:
        then, wanted = "After the cause is removed:", (commands.audit(),)
        what = f"The audit of {utc(one['at'])} found a difference; no week closes"
        yield Finding(what, one["outcome"], "audit-failed", then=then, commands=wanted)


def _late(state: Mapping[str, Any]) -> Iterator[Finding]:
    week = state["next_week"]
    if week and week["overdue_seconds"] > _OVERDUE_SECONDS and week["state"] not in (State.HELD, State.HALTED):
        known = [sentence for one in state["weeks"] if one["week"] == week["week"] for sentence in one["waits_for"]]
        why = (
            f"It was due at {utc(week['due'])}. It waits for: {'; '.join(known) or 'the publisher to set the barrier'}."
        )
        yield Finding(f"The week {week['week']} is overdue", why, "week-overdue", stops=False)
    oldest = state["oldest_unsent"]
    if oldest and oldest["age_seconds"] > _OUTBOX_SECONDS:
        why = f"The oldest is of {utc(oldest['created_at'])}, for {oldest['topic']}."
        yield Finding("Messages are not sent", why, "outbox-old", stops=False)
