"""services.cli.console: errors as one line and an exit code; text is never parsed as markup."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
import structlog
import typer
from aiokafka.errors import KafkaConnectionError
from rich.console import Console

from services.cli import console
from services.cli.verify_findings import Findings
from services.runtime import agencies
from services.runtime.errors import AwayError, ConfigurationError, InvariantError

ODD = "write [[agency]], [red]x[/red], [/] :x: [0, 7) \\[a]"


async def _fail(error: Exception) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (ConfigurationError(ODD), 2, f"Configuration: {ODD}\n"),
        (AwayError(ODD), 2, f"Away: {ODD}\n"),
        (ExceptionGroup("", [ConfigurationError(ODD)]), 2, f"Configuration: {ODD}\n"),
        (InvariantError(ODD), 1, f"Invariant: {ODD}\n"),
        (PermissionError(13, "Permission denied", "[a]/:x:"), 2, "Permission: [a]/:x:: Permission denied\n"),
    ],
    ids=lambda one: type(one).__name__,
)
@pytest.mark.parametrize("way", ["run", "report_caller_errors"])
def test_a_command_ends_with_the_error_unchanged(
    capsys: pytest.CaptureFixture[str], error: Exception, code: int, expected: str, way: str
) -> None:
    @console.report_caller_errors
    def command() -> None:
        raise error

    with pytest.raises(typer.Exit) as ended:
        console.run(_fail(error)) if way == "run" else command()
    assert (ended.value.exit_code, capsys.readouterr().err) == (code, expected)


def test_a_defect_is_shown_with_its_traceback() -> None:
    with pytest.raises(ValueError, match="planted"):
        console.run(_fail(ValueError("planted")))


def test_an_unreachable_kafka_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        console.run(_fail(KafkaConnectionError("planted")))
    expected = capsys.readouterr().err
    assert (ended.value.exit_code, expected.count("\n"), "planted" in expected) == (2, 1, False)


def test_findings_are_not_parsed_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    Findings().note(False, ODD, ODD)
    assert capsys.readouterr().out == f"✗ {ODD}: {ODD}\n"


def test_the_agencies_files_error_names_the_table_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    @console.report_caller_errors
    def command() -> None:
        agencies.parse(b"agency = 5")

    with pytest.raises(typer.Exit):
        command()
    assert "write [[agency]], once for each agency" in capsys.readouterr().err


@pytest.mark.parametrize("console", [console.out, console.err])
def test_the_consoles_of_commands_parse_neither_markup_nor_emoji(console: Console) -> None:
    with console.capture() as captured:
        console.print(ODD, soft_wrap=True)
    assert captured.get() == f"{ODD}\n"


def test_every_console_has_markup_off() -> None:
    root = Path(__file__).parents[2]
    made = [
        (path.name, {one.arg: ast.unparse(one.value) for one in call.keywords})
        for folder in ("services", "deploy")
        for path in (root / folder).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "Console"
    ]
    assert made
    for where, given in made:
        assert given.get("markup") == "False", where
        assert given.get("emoji") == "False", where


def test_a_command_logs_warnings_to_stderr_and_without_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    """Local variables can contain events and passwords. Another command may read stdout."""

    async def fails() -> int:
        secret = "planted-5e7f"
        log = structlog.get_logger()
        try:
            int(secret[:7])
        except ValueError:
            log.exception("record-failed", offset=7)
        log.warning("record-skipped", offset=8)
        log.info("batch-written", records=5)
        return 0

    with pytest.raises(typer.Exit):
        console.run(fails())
    output = capsys.readouterr()
    assert output.out == ""
    assert "ValueError: invalid literal" in output.err
    assert "record-skipped" in output.err
    assert "offset=8" in output.err
    assert "batch-written" not in output.err
    assert "5e7f" not in output.err


_HEADINGS = ("", ">validations/s", "Top jurisdiction", ">share of (b)")
_ROW = ("requests-with-one-event", "98,765", "Prince George's and Montgomery Counties MD", "0.39")


@pytest.mark.parametrize("width", [24, 40, 80])
def test_a_table_folds_and_cuts_no_heading_and_no_cell(width: int) -> None:
    shown = console.table(*_HEADINGS, title="a title of several words")
    shown.add_row(*_ROW)
    screen = Console(width=width, record=True, file=StringIO())
    screen.print(shown)
    lines = screen.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    columns = zip(*filter(None, map(_cells, lines)), strict=True)
    expected = (heading.removeprefix(">") + cell for heading, cell in zip(_HEADINGS, _ROW, strict=True))
    assert ["".join(column) for column in columns] == ["".join(cell.split()) for cell in expected]


def _cells(line: str) -> list[str]:
    """The cells of a line without blanks; empty for a line without cells."""
    return ["".join(part.split()) for part in re.split("[│┃]", line)[1:-1]]


def test_a_table_stays_on_its_lines_in_a_pipe() -> None:
    code = "from services.cli.console import out, table; t = table('a', '>b'); t.add_row('x' * 300, 'y'); out.print(t)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"COLUMNS": "80"}, capture_output=True, text=True, check=True
    )
    assert "x" * 300 in done.stdout


def test_tables_are_made_in_one_place() -> None:
    root = Path(__file__).parents[2]
    elsewhere = [
        f"{path.relative_to(root)}:{call.lineno}"
        for folder in ("services", "deploy", "tests")
        for path in (root / folder).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and (ast.unparse(call.func) == "Table" or ast.unparse(call.func).endswith(".add_column"))
    ]
    assert [one.partition(":")[0] for one in elsewhere] == ["services/cli/console.py"], elsewhere
