"""The expected result, computed from the set of accepted facts: plain dicts, one pass, no SQL.

Written from the design, not from the services: it shares no code with them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("America/New_York")

Fact = Mapping[str, Any]
"""The fields of an accepted fact by name, as the acceptance function returns them."""


def week_of(instant: datetime) -> date:
    """The Saturday, in New York, on or before the instant's day there."""
    day = instant.astimezone(ZONE).date()
    while day.isoweekday() != 6:
        day -= timedelta(days=1)
    return day


def counted_in(fact: Fact) -> date:
    """Issued counts in the week of issued_at, declined in the week of recorded_at."""
    return week_of(fact["issued_at"] if fact["kind"] == "issued" else fact["recorded_at"])


def outcome(facts: Iterable[Fact]) -> dict[str, Any]:
    """Ledger, history, open conflicts, weekly counters, details of declines and attestations that these facts make."""
    everything = list(facts)
    attested = [fact for fact in everything if fact["kind"] == "attested"]
    facts = [fact for fact in everything if fact["kind"] != "attested"]
    versions: dict[tuple[str, str, str], dict[tuple[int, bytes], Fact]] = defaultdict(dict)
    for fact in facts:
        identity = (str(fact["kind"]), fact["agency"], fact["detainer_id"])
        versions[identity][fact["version"], fact["fingerprint"]] = fact
    ledger, history, conflicts, declines = {}, {}, {}, {}
    counters: Counter[tuple[date, str, str]] = Counter()
    for identity, known in versions.items():
        top = max(known)
        winner = known[top]
        ledger[identity] = _row(winner)
        history.update({(*identity, *rank): _row(fact) for rank, fact in known.items() if rank != top})
        same_version = sum(version == top[0] for version, _ in known)
        if same_version > 1:
            conflicts[identity] = (top[0], same_version)
        if not winner["withdrawn"]:
            counters[counted_in(winner), winner["jurisdiction"], identity[0]] += 1
        if identity[0] == "declined":
            declines[identity[1:]] = _details(winner)
    standing: dict[tuple[str, date], tuple[Any, ...]] = {}
    for fact in attested:
        key = fact["agency"], fact["week"]
        standing[key] = max(standing.get(key, _numbers(fact)), _numbers(fact), key=lambda numbers: numbers[:2])
    return {
        "attested": standing,
        "attestations": {(fact["agency"], fact["week"], *_numbers(fact)[:2]): _numbers(fact)[2:] for fact in attested},
        "ledger": ledger,
        "history": history,
        "open conflicts": conflicts,
        "counters": dict(counters),
        "decline details": declines,
    }


def distinct(facts: Iterable[Fact]) -> int:
    """The number of distinct facts. All others are duplicates."""
    return len({(str(f["kind"]), f["agency"], f.get("detainer_id"), f["version"], f["fingerprint"]) for f in facts})


def _numbers(fact: Fact) -> tuple[Any, ...]:
    return fact["version"], fact["fingerprint"], fact["issued"], fact["declined"]


def _row(fact: Fact) -> dict[str, Any]:
    return {
        "version": fact["version"],
        "fingerprint": fact["fingerprint"],
        "week": counted_in(fact),
        "jurisdiction": fact["jurisdiction"],
        "withdrawn": fact["withdrawn"],
        "form": fact["form"],
    }


def _details(fact: Fact) -> dict[str, Any]:
    offenses = fact["offenses"]
    return {
        "issued_at": fact["issued_at"],
        "declined_at": fact["declined_at"],
        "recorded_at": fact["recorded_at"],
        "operator": fact["operator"],
        "reason": fact["reason"],
        "citizenship": fact["citizenship"],
        "offenses": None if offenses is None else sorted({f"{category}:{basis}" for category, basis in offenses}),
    }
