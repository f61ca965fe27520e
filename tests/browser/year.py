"""A year of weeks on a real log and database, with everything that a page can show.

It has rare and long names, unknown numbers, a restated and a corrected week, a week that a gate held, attestations,
policies and pending facts. Numbers follow from the week and the place, so each run has the same pages.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import Any

from schemas.topics import REPORT_READY
from schemas.week import ReportingWeek
from services.publisher.policy_file import COLUMNS
from services.publisher.queries import SQL
from services.runtime.settings import Settings
from tests.support import commands, events, kafka_log
from tests.support.batches import CALENDAR
from tests.support.kafka_log import Message
from tests.support.life import Life, living

FIRST_DAY = date(2016, 1, 2)
WEEKS = 57
LATE, HELD = -5, -1
"""Which of the weeks is restated, and which is held."""

# Agency and the scopes of its key. ice-new-york may not send declines, so those of its counties are unknown.
_AGENCIES = {
    "ice-anchorage": '["02*"]', "ice-hartford": '["09*"]', "ice-houston": '["48*"]', "ice-las-vegas": '["32*", "US"]',
    "ice-los-angeles": '["06*"]', "ice-miami": '["12*", "72*"]', "ice-new-york": '["36*"]', "ice-phoenix": '["2430"]',
    "ice-silent": '["56*"]', "ice-chicago": '["17*"]', "ice-seattle": '["53*"]', "ice-boston": '["25*"]',
}  # fmt: skip
_ISSUES_ONLY = "ice-new-york"
# Code, operator, agency, usual number of a week.
_PLACES = (
    ("32003", "county", "ice-las-vegas", 9), ("48201", "county", "ice-houston", 8),
    ("06037", "county", "ice-los-angeles", 8), ("12086", "county", "ice-miami", 7),
    ("17031", "county", "ice-chicago", 6), ("36059", "county", "ice-new-york", 5),
    ("48453", "county", "ice-houston", 5), ("32031", "county", "ice-las-vegas", 4),
    ("53033", "county", "ice-seattle", 4), ("25017", "county", "ice-boston", 3), ("09130", "county", "ice-hartford", 3),
    ("US", "federal", "ice-las-vegas", 3), ("32", "state", "ice-las-vegas", 2), ("02198", "county", "ice-anchorage", 2),
    ("72001", "county", "ice-miami", 2), ("2430", "tribal", "ice-phoenix", 1), ("48029", "county", "ice-houston", 2),
)  # fmt: skip
_OFFENSES = ("13A:convicted", "35A:charged", "90D:convicted", "220:charged", "09A:charged")
_REASONS = ("policy", "no-judicial-warrant", "offense-not-covered", None)
_CITIZENSHIPS = ("MEX", "GTM", "HND", "SLV", None)
_FORMS = ("I-247A", "I-247D", "I-247N", None)
_POLICIES = (
    "36059,2014-06,2014-06-01,,judicial-warrant,https://example.org/nassau?a=1&b=2,",
    "06037,2013-10-05,2014-01-01,,judicial-warrant,https://example.org/trust-act,",
    "17031,2011-09-07,2011-09-07,,judicial-warrant,https://example.org/ordinance,",
)


@dataclass(frozen=True)
class Year:
    """The weeks of a year, and the messages that announced their reports."""

    settings: Settings
    weeks: tuple[ReportingWeek, ...]
    announced: dict[tuple[str, int], bytes]
    """The value of each message on report-ready, by week and revision."""

    @property
    def newest(self) -> str:
        """The newest week."""
        return str(self.weeks[-1])

    @property
    def restated(self) -> str:
        """The week that has three revisions."""
        return str(self.weeks[LATE])


def write_agencies(path: Path) -> Path:
    """Write the agencies file of the year."""
    tables = [
        f'[[agency]]\nname = "{name}"\nkey_sha256 = ["{hashlib.sha256(name.encode()).hexdigest()}"]\n'
        f"kinds = {['issued'] if name == _ISSUES_ONLY else ['issued', 'declined']}\njurisdictions = {scopes}\n"
        for name, scopes in _AGENCIES.items()
    ]
    path.write_text("\n".join(tables).replace("'", '"'))
    return path


def weeks_from(first: date, count: int) -> tuple[ReportingWeek, ...]:
    """Consecutive weeks."""
    return tuple(CALENDAR.week(first + timedelta(weeks=number)) for number in range(count))


def facts(number: int, week: ReportingWeek, *, unissued: int = 0) -> Iterator[Message]:
    """The facts of one week, the `number`-th of the year. `unissued` declines have no issued event."""
    for order, (code, operator, agency, usual) in enumerate(_PLACES):
        chance = random.Random(f"{number} {code}")
        count = max(0, usual + chance.randint(-3, 3))
        declined = 0 if agency == _ISSUES_ONLY else chance.randint(0, count)
        for one in range(count + unissued):
            fact = _fact(f"{number}.{order}.{one}", week, code, operator, one + order)
            if one < count:
                yield events.message("issued", fact, agency=agency)
            if agency != _ISSUES_ONLY and (one < declined or one >= count):
                yield events.message("declined", _declined(fact, week, one + order), agency=agency)


def _fact(name: str, week: ReportingWeek, code: str, operator: str, turn: int) -> dict[str, Any]:
    return events.issued(
        int.from_bytes(name.encode()),
        jurisdiction=code,
        operator=operator,
        issued_at=(week.begins_at + timedelta(days=1, hours=turn % 24)).isoformat(),
        form=_FORMS[turn % len(_FORMS)],
        citizenship=_CITIZENSHIPS[turn % len(_CITIZENSHIPS)],
    )


def _declined(fact: dict[str, Any], week: ReportingWeek, turn: int) -> dict[str, Any]:
    at = (week.begins_at + timedelta(days=3, hours=turn % 24)).isoformat()
    category, basis = _OFFENSES[turn % len(_OFFENSES)].split(":")
    reason = _REASONS[turn % len(_REASONS)]
    more = {"offenses": [{"category": category, "basis": basis}], "reason": reason}
    return {name: value for name, value in {**fact, "declined_at": at, "recorded_at": at, **more}.items() if value}


async def lived(settings: Settings, policies: Path) -> Year:
    """Write, count, close, restate, hold, release and send. `settings.first_week` is FIRST_DAY."""
    weeks = weeks_from(FIRST_DAY, WEEKS)
    async with living(settings, weeks[0]) as life:
        await _load_policies(settings, policies)
        earlier = [fact for number, week in enumerate(weeks[:-1]) for fact in facts(number, week)]
        await life.write(*earlier, events.attesting(_attestation(weeks[-2]), agency="ice-houston"))
        for week in weeks[:-2]:
            await life.close(week)
        await _restate(life, weeks[LATE], weeks[-2])
        await _correct(life, weeks[LATE])
        await life.write(*facts(WEEKS - 1, weeks[HELD], unissued=2))
        await life.close(weeks[HELD])
        now = life.publisher.clock.now.astimezone(UTC)
        note = "the agencies confirm the declines of detainers that were issued before the feed began"
        assert await life.publisher.store.release(weeks[HELD].first, "A. Smith", note, now)
        await life.publisher.steps()
        await life.send()
        await life.publisher.step()  # early weeks become final
        await life.write(*facts(1_000, weeks[-2]))
        records = await kafka_log.read(settings.kafka_bootstrap, REPORT_READY)
    return Year(settings, weeks, {_named(value): value for one in records if (value := one.value)})


def _attestation(week: ReportingWeek) -> dict[str, Any]:
    return events.attested(str(week), issued=20, declined=6)


def write_policies(path: Path) -> Path:
    """Write the file of policies of the year."""
    path.write_text("\n".join([",".join(COLUMNS), *_POLICIES]))
    return path


async def _load_policies(settings: Settings, file: Path) -> None:
    done = await commands.ddor(settings, "policies", "load", str(file), "--by", "A. Smith")
    assert done.exit_code == 0, done.output


async def _restate(life: Life, week: ReportingWeek, closing: ReportingWeek) -> None:
    """Late and withdrawn facts of a week, which the next close restates."""
    withdrawn = {"version": 2, "withdrawn": True, "withdrawn_reason": "entered-in-error"}
    number = WEEKS + LATE
    known = [one for one in facts(number, week) if one.topic == "detainer-declined"]
    taken_back = events.message("declined", json.loads(known[0].value or b"")["data"] | withdrawn)
    await life.write(*list(facts(2_000, week))[:40], taken_back)
    await life.close(closing)


async def _correct(life: Life, week: ReportingWeek) -> None:
    """A revision that an operator requests."""
    await life.write(*list(facts(3_000, week))[:12])
    now = life.publisher.clock.now
    reason = "the agency sent twelve records that its export had left out"
    await life.connection.fetchval(SQL["request_restatement"], week.first, "A. Smith", reason, now)
    await life.publisher.steps()


def _named(value: bytes) -> tuple[str, int]:
    data = json.loads(value)["data"]
    return data["week_start"], data["revision"]
