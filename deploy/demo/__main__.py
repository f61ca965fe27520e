"""``python -m deploy.demo``: bring everything up, stream the first report's week, close it, keep the report."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import suppress
from pathlib import Path
from time import monotonic

from rich.console import Console

from deploy.local.errors import LocalError
from deploy.local.parts import choose_kafka, choose_postgres
from deploy.local.stack import Stack
from services.importer.acceptance_week import header_note

DATA = Path(__file__).with_name("2017-01-28.csv")
WEEK = DATA.stem
FORMS = ("json", "csv", "html")

_console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demonstration; 0 when the report was published and its files are written."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"), help="where the report's files go (default: out)")
    arguments = parser.parse_args()
    began = monotonic()
    with tempfile.TemporaryDirectory(prefix="ddor-demo-") as scratch:
        try:
            files = demonstrate(Path(scratch), arguments.out)
        except LocalError as error:
            Console(stderr=True, soft_wrap=True).print(f"✗ {error}", style="red", markup=False)
            return 1
    _console.print(f"[green]✓[/green] {', '.join(str(file) for file in files)}")
    _console.print(f"[green]✓[/green] done in {monotonic() - began:.0f} s; everything that was started has ended")
    return 0


def demonstrate(scratch: Path, out: Path) -> list[Path]:
    """Publish the week on parts of its own under `scratch`; answers the files written to `out`. Raises LocalError."""
    stack = Stack(
        scratch / "stack",
        choose_kafka(scratch / "kafka", kind="embedded"),
        choose_postgres(scratch / "postgres", kind="native"),
        settings={"DDOR_DEMONSTRATION": "true", "DDOR_NOTE": header_note(DATA)},
        report=lambda line: _console.print(f"[green]✓[/green] {line}"),
    )
    try:
        stack.up()
        _console.print(f"streaming {DATA.name} to {stack.services['ingest'].url}/v1/events")
        _ddor(stack, "import", str(DATA), "--profile", "acceptance-week", "--dataset", WEEK,
              "--journal", str(scratch / "journal"))  # fmt: skip
        _ddor(stack, "close", WEEK, "--by", "demonstration")
        return [_keep(stack, form, out) for form in FORMS]
    finally:
        with suppress(LocalError):
            stack.down(delete=True)


def _ddor(stack: Stack, *arguments: str) -> None:
    """Run a command of the project in front of the reader's eyes."""
    command = [sys.executable, "-m", "services.cli.main", *arguments]
    ended = subprocess.run(command, env=stack.environment(), stdin=subprocess.DEVNULL, check=False)  # noqa: S603
    if ended.returncode:
        raise LocalError(f"ddor {arguments[0]} ended with exit code {ended.returncode}; its own words are above")


def _keep(stack: Stack, form: str, out: Path) -> Path:
    url = f"{stack.services['publisher'].url}/v1/reports/{WEEK}.{form}"
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  # our own address on loopback
        body = answer.read()
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{WEEK}.{form}"
    file.write_bytes(body)
    return file


if __name__ == "__main__":
    raise SystemExit(main())
