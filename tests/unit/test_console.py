"""services.cli.console: errors as one line and an exit code; text is never parsed as markup."""

from __future__ import annotations

import ast
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
