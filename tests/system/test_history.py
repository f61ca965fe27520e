"""`ddor history` of a released file, and of a later release of it: the difference is a restatement with its causes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.errors import PartFailedError
from deploy.local.probes import wait_until
from deploy.local.stack import Stack
from tests.support import released_files as files
from tests.support.processes import accept_interrupts
from tests.support.released_files import truth

WEEK, NEXT = "2026-02-07", "2026-02-14"
DECLINED = "Detainer Declined by LEA"
A, B, C, D = (truth(identifier=name * 40) for name in "abcd")
LATER = {"prepare_date": date(2026, 2, 16)}


def _history(system: Stack, file: Path, dataset: str, *more: str) -> str:
    words = ("--profile", "ice-detainers", "--dataset", dataset, "--journal", str(file.parent / dataset), "--by", "Ada")
    said = system.run("history", str(file), *words, *more)
    assert all(len(line) <= 80 for line in said.splitlines() if re.match(r"\s*20\d\d-", line)), said
    return said


def _figures(said: str) -> dict[str, list[str]]:
    """The table: columns by week."""
    lines = [re.split(r"\s{2,}", line.strip()) for line in said.splitlines()]
    return {words[0]: words[1:] for words in lines if re.fullmatch(r"20\d\d-\d\d-\d\d", words[0])}


def _report(system: Stack, path: str) -> dict[str, Any]:
    url = f"{system.services['publisher'].url}/v1/reports/{path}"
    document: dict[str, Any] = httpx.get(url, headers={"Accept": "application/json"}, trust_env=False).json()
    return document


def test_a_later_release_restates_what_has_changed(system: Stack, tmp_path: Path) -> None:
    march = [A, {**B, "lift_reason": DECLINED}, C, {**D, "lift_reason": "Duplicate"}, {**A, "state": None}]
    file = files.csv_file(tmp_path / "march.csv", files.table("March 2026", march))
    said = _history(system, file, "march")
    assert _figures(said) == {WEEK: ["3", "1", "Clark County NV 1"]}
    assert "rows: 5 = 3 counted + 1 withdrawn + 1 rejected (no-state 1)" in said
    assert "1 weeks with a report: issued 3, declined 1, as in the file" in said

    again = _history(system, file, "march")
    assert "continuing after row 5" in again
    assert _figures(again) == {WEEK: ["3", "1", "Clark County NV 1", "closed before"]}

    duplicate = {**D, "lift_reason": "Duplicate"}
    august = [{**A, "lift_reason": DECLINED}, {**B, "lift_reason": DECLINED}, duplicate, {**A, **LATER}]
    file = files.xlsx(tmp_path / "august.xlsx", {"A": files.table("August 2026", august)})
    said = _history(system, file, "august", "--supersedes", "march")
    assert "compared with march: 3 rows in both, 1 of them changed; 1 only in march; 1 only in this file" in said
    assert "rows: 5 = 3 counted + 2 withdrawn + 0 rejected" in said
    assert _figures(said) == {WEEK: ["2", "2", "Clark County NV 2", "closed before"], NEXT: ["1", "0"]}

    assert _report(system, f"{WEEK}.json")["totals"] == {"issued": 2, "declined": 2}
    restated = _report(system, f"{WEEK}/revisions/2")
    assert restated["cause"] == "scheduled"
    assert {one["kind"]: one["causes"] for one in restated["changes"]} == {
        "issued": {"withdrawn": -1},
        "declined": {"late": 1},
    }


def test_a_release_that_repeats_another_is_named(system: Stack, tmp_path: Path) -> None:
    for name in ("march", "august"):
        files.csv_file(tmp_path / f"{name}.csv", files.table("March 2026", [A, B]))
    _history(system, tmp_path / "march.csv", "march")
    said = _history(system, tmp_path / "august.csv", "august")
    assert "2 rows are in data set march too: add --supersedes march if august.csv is a later release" in said
    with pytest.raises(PartFailedError, match="there is no journal with an index of data set april"):
        _history(system, tmp_path / "august.csv", "new", "--supersedes", "april")


def test_a_week_that_a_gate_holds_does_not_delay_the_others(system: Stack, tmp_path: Path) -> None:
    """Two releases without --supersedes give one fact two contents, and a gate holds its week."""
    file = files.csv_file(tmp_path / "march.csv", files.table("March 2026", [A]))
    words = ("--profile", "ice-detainers", "--dataset", "march", "--journal", str(tmp_path / "march"))
    system.run("import", str(file), *words)
    rows = [{**A, "citizenship": "CUBA"}, {**A, **LATER}]
    file = files.csv_file(tmp_path / "august.csv", files.table("March 2026", rows))
    with pytest.raises(PartFailedError, match="exit code 1") as held:
        _history(system, file, "august")
    assert f"ddor release {WEEK} --by" in str(held.value)
    assert _report(system, f"{NEXT}.json")["totals"] == {"issued": 1, "declined": 0}


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
@pytest.mark.parametrize("place", ["sending", "closing"])
def test_an_interrupted_history_continues(system: Stack, tmp_path: Path, by: signal.Signals, place: str) -> None:
    rows = [
        truth(
            identifier=str(number),
            prepare_date=date(2026, 1, 5) + timedelta(days=number % 28),
            lift_reason=DECLINED if number % 10 == 0 else None,
        )
        for number in range(12_000)
    ]
    file = files.csv_file(tmp_path / "rows.csv", files.table("March 2026", rows))
    words = ("--profile", "ice-detainers", "--dataset", "rows", "--journal", str(tmp_path / "rows"), "--by", "Ada")
    command = [sys.executable, "-m", "services.cli.main", "history", str(file), *words]
    process = subprocess.Popen(
        command,
        env=system.environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=accept_interrupts,  # noqa: PLW1509  # it only sets a signal's disposition
    )
    wait_until(
        lambda: _is_at(system, tmp_path / "rows" / "progress.json", place),
        seconds=120,
        what=place,
        alive=lambda: process.poll() is None,
    )
    process.send_signal(by)
    _, said = process.communicate(timeout=60)
    if by is signal.SIGINT:
        assert (process.returncode, "Traceback" in said) == (130, False), said
        assert said.endswith("Interrupted. Run the same command again to continue.\n")
    said = _history(system, file, "rows")
    counts = Counter(str(_week(row["prepare_date"])) for row in rows)
    declined = Counter(str(_week(row["prepare_date"])) for row in rows if row["lift_reason"])
    shown = {week: tuple(int(one.replace(",", "")) for one in words[:2]) for week, words in _figures(said).items()}
    assert shown == {week: (counts[week], declined[week]) for week in counts}
    assert "issued 12,000, declined 1,200, as in the file" in said


def _is_at(system: Stack, progress: Path, place: str) -> bool:
    if place == "sending":
        return progress.exists()
    return bool(_reports(system))


def _reports(system: Stack) -> list[Any]:
    url = f"{system.services['publisher'].url}/v1/reports"
    return list(httpx.get(url, trust_env=False).json()["reports"])


def _week(day: date) -> date:
    """The Saturday on or before it."""
    return day - timedelta(days=(day.weekday() + 2) % 7)
