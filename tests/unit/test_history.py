"""`ddor history`: its table, the reconciliation, the weeks that it closes, and its end after Ctrl-C."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from services.cli import history
from services.cli.closing_weeks import CannotCloseError
from services.cli.history_closing import ClosedWeeks, WeekReport
from services.cli.history_table import print_table, print_totals
from services.cli.main import command
from services.importer.file_weeks import FileWeeks
from services.importer.journal import Progress
from services.runtime.settings import Settings

FIRST, SECOND, THIRD = date(2014, 10, 4), date(2014, 10, 11), date(2014, 10, 18)
TOP = {"name": "Prince George's and a very long name of a County", "state": "MD", "declined": 1234}


def closed(**changes: Any) -> ClosedWeeks:
    reports = {
        FIRST: WeekReport(FIRST, {"issued": 123_456, "declined": 98_765}, TOP, before=True),
        SECOND: WeekReport(SECOND, {"issued": 1, "declined": 0}, {**TOP, "declined": 0}, before=False),
    }
    return ClosedWeeks(reports, **changes)


def in_file(*weeks: tuple[date, int, int]) -> FileWeeks:
    found = FileWeeks(Settings().calendar)
    found.counts = {week: Counter({"issued": issued, "declined": declined}) for week, issued, declined in weeks}
    return found


def test_the_table_has_one_line_for_each_week(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(closed(held=[THIRD], pending=[date(2014, 10, 25)]))
    lines = capsys.readouterr().out.splitlines()
    words = [" ".join(line.split()) for line in lines if "2014-" in line]
    assert words[0] == f"2014-10-04 123,456 98,765 {TOP['name']} MD 1,234 closed before", "whole in a pipe"
    assert words[1:] == ["2014-10-11 1 0", "2014-10-18 held", "2014-10-25 not closed"]


@pytest.mark.parametrize(("issued", "reconciles"), [(1, True), (2, False)])
def test_the_reports_are_compared_with_the_file(
    capsys: pytest.CaptureFixture[str], issued: int, reconciles: bool
) -> None:
    done = Progress("set", "demo", "ice-detainers", rows=9, accepted=7, rejected=2)
    done.reasons = {"no-state": 1, "bad-date": 1}
    done.marks = {"withdrawn: duplicate-record": 3, "form not stated": 1}
    print_totals(done, in_file((FIRST, 123_456, 98_765), (SECOND, issued, 0), (THIRD, 5, 5)), closed())
    said = capsys.readouterr().out
    assert "rows: 9 = 4 counted + 3 withdrawn + 2 rejected (no-state 1, bad-date 1)" in said
    assert "2 weeks with a report: issued 123,457, declined 98,765" in said
    assert (", as in the file" in said, "in the file 123,458 and 98,765" in said) == (reconciles, not reconciles)
    assert ("They differ in 1 weeks: 2014-10-11. Other data sets" in said) == (not reconciles)


def test_all_weeks_from_the_first_to_the_last_are_closed_those_without_records_included() -> None:
    finished, going_on = history._weeks(in_file((FIRST, 1, 0), (THIRD, 1, 0)), (None, None), Settings())
    assert (finished, going_on) == ([FIRST, SECOND, THIRD], [])
    finished, _ = history._weeks(in_file((FIRST, 1, 0), (THIRD, 1, 0)), (SECOND, SECOND), Settings())
    assert finished == [SECOND]
    _, going_on = history._weeks(in_file((date(2099, 1, 3), 1, 0)), (None, None), Settings())
    assert [str(week) for week in going_on] == ["2099-01-03"]
    assert history._weeks(in_file(), (None, None), Settings()) == ([], [])


def test_a_file_with_a_wrong_date_does_not_close_hundreds_of_weeks() -> None:
    with pytest.raises(CannotCloseError, match="name the weeks to close with --from and --to"):
        history._weeks(in_file((date(2000, 1, 1), 1, 0), (FIRST, 1, 0)), (None, None), Settings())


def test_an_interruption_is_one_sentence_and_an_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()

    async def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(history, "_history", interrupted)
    words = ["history", str(tmp_path / "file"), "--profile", "cloudevents", "--dataset", "set"]
    result = CliRunner().invoke(command("history"), words)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "Interrupted. Run the same command again to continue.\n"
