"""`python -m deploy.demo`: start the system, send the week of the first report, close it and save the report.

With `--file`, a released file takes the place of that week: `ddor history` imports it and closes its finished weeks.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

from rich.console import Console
from rich.text import Text

from deploy.local.errors import LocalError
from deploy.local.parts import choose_kafka, choose_postgres
from deploy.local.stack import Stack
from services.importer.acceptance_week import header_note

DATA = Path(__file__).with_name("2017-01-28.csv")
WEEK = DATA.stem
CALENDAR = {"DDOR_ZONE": "America/New_York", "DDOR_WEEK_STARTS_ON": "SATURDAY"}
"""The calendar of the data. It overrides the environment."""
FORMS = ("json", "csv", "html")
_MOST_NAMED = 6
_HELD = 1
"""The exit code of `ddor history` if a gate holds a week: the other weeks have reports."""
_DESCRIPTION = "Start the whole system, send the week of the first report, close it and save the report."

_console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demonstration. Returns 0 if the report was published and its files were written."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description=_DESCRIPTION)
    parser.add_argument("--out", type=Path, default=Path("out"), help="directory for the report's files (default: out)")
    parser.add_argument("--file", type=Path, help="a released file, instead of the week of the first report")
    parser.add_argument("--profile", default="ice-detainers", help="the file's format (default: ice-detainers)")
    arguments = parser.parse_args()
    began = monotonic()
    with tempfile.TemporaryDirectory(prefix="ddor-demo-") as scratch:
        try:
            if arguments.file:
                files = history(Path(scratch), arguments.file, arguments.profile, arguments.out)
            else:
                files = demonstrate(Path(scratch), arguments.out)
        except LocalError as error:
            Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True).print(
                f"✗ {error}", style="red"
            )
            return 1
    _done(", ".join(str(file) for file in files[:_MOST_NAMED]) + (", ..." if len(files) > _MOST_NAMED else ""))
    _done(f"done in {monotonic() - began:.0f} s; all processes have ended")
    return 0


def _done(line: str) -> None:
    _console.print(Text.assemble(("✓", "green"), f" {line}"))


def demonstrate(scratch: Path, out: Path) -> list[Path]:
    """Publish the week with a Kafka and a PostgreSQL under `scratch`. Returns the files in `out`.

    Raises LocalError. The logs of the services are then in `out`/logs.
    """
    settings = {"DDOR_DEMONSTRATION": "true", "DDOR_NOTE": header_note(DATA), **CALENDAR}
    with _running(scratch, out, settings) as stack:
        _console.print(f"sending {DATA.name} to {stack.services['ingest'].url}/v1/events")
        _ddor(stack, "import", str(DATA), "--profile", "acceptance-week", "--dataset", WEEK,
              "--journal", str(scratch / "journal"))  # fmt: skip
        _ddor(stack, "close", WEEK, "--by", "demonstration")
        files = [_save(stack, WEEK, form, out) for form in FORMS]
        _write_site(stack, out)
        return files


def history(scratch: Path, file: Path, profile: str, out: Path) -> list[Path]:
    """Publish all finished weeks of a released file. Returns the files in `out`. Raises LocalError."""
    if not file.is_file():
        raise LocalError(f"there is no file {file}")
    with _running(scratch, out, {}) as stack:
        code = _run(stack, "history", str(file.resolve()), "--profile", profile, "--dataset", "demonstration",
                    "--journal", str(scratch / "journal"), "--by", "demonstration")  # fmt: skip
        if code not in (0, _HELD):
            raise LocalError(f"ddor history ended with exit code {code}; see its output above")
        with urllib.request.urlopen(f"{stack.services['publisher'].url}/v1/reports", timeout=10) as response:  # noqa: S310
            weeks = sorted({one["week"] for one in json.load(response)["reports"]})
        files = [_save(stack, week, form, out) for week in weeks for form in FORMS]
        _write_site(stack, out)
        return files


@contextmanager
def _running(scratch: Path, out: Path, settings: Mapping[str, str]) -> Iterator[Stack]:
    stack = Stack(
        scratch / "stack",
        choose_kafka(scratch / "kafka", source="embedded"),
        choose_postgres(scratch / "postgres", source="native"),
        settings=settings,
        report=_done,
    )
    try:
        stack.up()
        yield stack
    except LocalError as error:
        if logs := _save_logs(stack, out):
            raise LocalError(f"{error}\nThe logs of the services are in {logs}") from error
        raise
    finally:
        with suppress(LocalError):
            stack.down(delete=True)


def _ddor(stack: Stack, *arguments: str) -> None:
    """Run a `ddor` command. Raises LocalError if it fails."""
    if code := _run(stack, *arguments):
        raise LocalError(f"ddor {arguments[0]} ended with exit code {code}; see its output above")


def _run(stack: Stack, *arguments: str) -> int:
    """Run a `ddor` command with its output on this terminal. Returns its exit code."""
    command = [sys.executable, "-m", "services.cli.main", *arguments]
    return subprocess.run(command, env=stack.environment(), stdin=subprocess.DEVNULL, check=False).returncode  # noqa: S603


def _save_logs(stack: Stack, out: Path) -> Path | None:
    """Copy the logs before the stack is deleted. Returns their directory, or None if no service has started."""
    logs = stack.state.directory / "logs"
    return Path(shutil.copytree(logs, out / "logs", dirs_exist_ok=True)) if logs.is_dir() else None


def _write_site(stack: Stack, out: Path) -> None:
    """Write all pages as files to `out`/site, in place of those of an earlier demonstration."""
    site = out / "site"
    _ddor(stack, "site", str(site))
    _done(f"all pages: open {site / 'index.html'}, or run: python3 -m http.server --directory {site}")


def _save(stack: Stack, week: str, form: str, out: Path) -> Path:
    url = f"{stack.services['publisher'].url}/v1/reports/{week}.{form}"
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310  # our own address on loopback
        body = response.read()
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{week}.{form}"
    file.write_bytes(body)
    return file


if __name__ == "__main__":
    raise SystemExit(main())
