"""Files of every layout, made from one truth, give the counts of that truth; two releases differ as the truth does."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from services.importer import index
from services.importer.files import InputFile
from services.importer.ice_detainers import read
from services.importer.journal import Journal
from services.importer.rows import Row
from services.importer.sending import ROWS_PER_REQUEST, DryRun, Envelopes, Sender
from services.importer.superseding import Overlap, Superseding
from tests.support.released_layouts import LAYOUTS, write
from tests.support.released_truth import NO_IDENTIFIER, REDACTED, Detainer, detainers, later
from tests.unit.sample_released import CALENDAR
from tests.unit.sample_releases import Ledger

FEW = 1_500
MANY = pytest.param(100_000, marks=pytest.mark.long("the same with 100,000 rows"))
Key = tuple[date, str, str]


def truly(every: Iterable[Detainer]) -> Counter[Key]:
    """Counts by week (Saturday to Friday), kind and jurisdiction."""
    counts: Counter[Key] = Counter()
    for one in every:
        if not one.rejected and not one.withdrawn:
            week = one.day - timedelta(days=(one.day.weekday() + 2) % 7)
            counts[week, one.kind, one.jurisdiction] += 1
            counts[week, "declined", one.jurisdiction] += one.declined
    return +counts


async def imported(path: Path) -> tuple[Counter[Key], Counter[str], Counter[str]]:
    """What a dry run of the file accepts: counts by week, kind and jurisdiction; withdrawn and rejected rows."""
    rows, envelopes, dry_run = read(InputFile(path), "demo", "set", CALENDAR), Envelopes("demo", "set"), DryRun()
    counts: Counter[Key] = Counter()
    withdrawn: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    issued: set[str] = set()
    while chunk := list(islice(rows, ROWS_PER_REQUEST)):
        rejected.update(row.reject.field for row in chunk if row.reject)
        lines = [line for row in chunk for line in envelopes.lines(row)]
        assert {receipt["status"] for receipt in await dry_run.send(lines)} <= {"accepted"}
        for event in map(json.loads, lines):
            data = event["data"]
            if event["type"] == "detainer-issued":
                assert event["subject"] not in issued, "a detainer counts twice"
                issued.add(event["subject"])
            if data.get("withdrawn"):
                withdrawn[data["withdrawn_reason"]] += 1
            else:
                counts[_key(event["type"], data)] += 1
    return counts, withdrawn, rejected


def _key(kind: str, data: dict[str, Any]) -> Key:
    name = "declined" if kind == "detainer-declined" else "notification" if data["form"] == "I-247N" else "issued"
    instant = datetime.fromisoformat(data["recorded_at" if name == "declined" else "issued_at"])
    return CALENDAR.week_of(instant).first, name, data["jurisdiction"]


@pytest.mark.parametrize("count", [FEW, MANY])
@pytest.mark.parametrize("file", list(LAYOUTS))
async def test_each_layout_gives_the_counts_of_the_truth(tmp_path: Path, file: str, count: int) -> None:
    truth = detainers(count)
    counts, withdrawn, rejected = await imported(write(tmp_path, file, truth))
    assert counts == truly(truth)
    assert withdrawn == Counter(one.withdrawn for one in truth if one.withdrawn and not one.rejected)
    assert rejected == Counter(one.rejected for one in truth if one.rejected)
    assert len({kind for _, kind, _ in counts}) == 3


def test_the_truth_has_every_case_at_its_rate() -> None:
    truth = detainers(20_000)
    nameless = sum(one.cells["identifier"] in (None, REDACTED) for one in truth) / len(truth)
    assert nameless == pytest.approx(NO_IDENTIFIER, abs=0.01)
    assert {one.rejected for one in truth} == {"", "facility", "state", "lift_reason", "prepare_date"}
    assert len({one.cells["detainer_type"] for one in truth}) == 5
    assert sum(one.cells is other.cells for one, other in pairwise(truth)) > 400
    assert detainers(100) == detainers(100) != detainers(100, seed=9)


def in_effect(ledger: Ledger) -> Counter[tuple[object, ...]]:
    """The counted facts: kind, jurisdiction, form and instant."""
    return Counter(
        (kind, data["jurisdiction"], data["form"], data["issued_at"])
        for (_, kind), data in ledger.facts.items()
        if not data.get("withdrawn")
    )


async def released(ledger: Ledger, directory: Path, file: Path, supersedes: str | None = None) -> Overlap | None:
    """Import a file as a release, as the command does, and return what it has in common with the earlier one."""

    def rows() -> Iterator[Row]:
        return read(InputFile(file), "demo", file.stem, CALENDAR)

    journal = Journal(directory / file.stem, "demo", file.stem, "ice-detainers", indexed=True, supersedes=supersedes)
    assert journal.index is not None
    overlap, sent, then = None, rows(), None
    try:
        if supersedes:
            earlier = Superseding(journal.index, directory / supersedes / index.NAME, file.stem)
            assert sum(earlier.compare(rows())) > 0
            overlap = earlier.match()
            earlier.claim()
            sent, then = earlier.rows(rows()), partial(earlier.gone, "not in this release")
        async for _ in Sender(ledger, Envelopes("demo", file.stem)).run(sent, journal, then):
            pass
        if supersedes:
            earlier.finish(journal.progress.rows)
        journal.index.finish()
    finally:
        journal.close()
    return overlap


@pytest.mark.parametrize("count", [FEW, MANY])
async def test_two_releases_differ_as_the_truth_does(tmp_path: Path, count: int) -> None:
    truth = detainers(count)
    second = later(truth)
    march, august = (
        write(tmp_path, "march.xlsx", truth),
        write(tmp_path, "august.xlsx", second.detainers, seed=4),
    )
    ledger, alone = Ledger(), Ledger()
    assert await released(ledger, tmp_path / "both", march) is None
    found = await released(ledger, tmp_path / "both", august, supersedes="march")
    await released(alone, tmp_path / "alone", august)
    assert found is not None
    assert (found.only_earlier, found.only_later) == (len(second.gone), len(second.new))
    assert found.changed == len(second.changed)
    assert all((second.gone, second.new, second.changed, second.renamed))
    assert in_effect(ledger) == in_effect(alone), "nothing counts twice, and every change is taken over"
