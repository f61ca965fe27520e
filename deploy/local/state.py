"""What is kept in the state directory between `up` and `down`: choices, the demo agency, the `env` file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from deploy.local.private_files import write_private

AGENCY = "demo"
_ZONE = ZoneInfo("America/New_York")
_SATURDAY = 5
_DIRECTORIES = ("run", "logs", "kafka", "postgres")


@dataclass(frozen=True)
class Record:
    """What a stack was brought up with, so that the next `up` is the same stack again."""

    kafka: str
    """Kind of the Kafka part. Data of one kind say nothing to another, so it stays until they are deleted."""
    postgres: str
    first_week: str
    """Kept: a later one would leave the weeks between the two without a report."""
    ports: dict[str, int] = field(default_factory=dict)
    """By service name."""


class State:
    """A state directory. Nothing is created before something is written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.env_file = self.directory / "env"
        self.agencies_file = self.directory / "agencies.toml"
        self.lock = self.directory / "lock"
        self._record = self.directory / "stack.json"
        self._key = self.directory / f"{AGENCY}.key"

    def read_record(self) -> Record | None:
        """What the last `up` recorded; None if there was none."""
        try:
            return Record(**json.loads(self._record.read_text()))
        except FileNotFoundError:
            return None

    def write_record(self, record: Record) -> None:
        """Keep `record` for the next time."""
        write_private(self._record, json.dumps(asdict(record), indent=2) + "\n")

    def agency_key(self) -> str:
        """The demo agency's bearer key: random, made once, kept. The agencies file is written beside it."""
        try:
            key = self._key.read_text().strip()
        except FileNotFoundError:
            key = secrets.token_urlsafe(32)
            write_private(self._key, key + "\n")
        digest = hashlib.sha256(key.encode()).hexdigest()
        write_private(
            self.agencies_file,
            "# The agency of this machine. It may send everything; its key is in demo.key.\n"
            f'[[agency]]\nname = "{AGENCY}"\nkey_sha256 = ["{digest}"]\n'
            'kinds = ["issued", "declined"]\njurisdictions = ["*"]\n',
        )
        return key

    def write_env(self, variables: Mapping[str, str]) -> None:
        """Write the file `env` for a shell's `source`: one `export` a line, readable by us alone."""
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
        write_private(self.env_file, "".join(lines))

    def read_env(self) -> dict[str, str]:
        """The variables of the file `env`; none if there is no file."""
        try:
            words = shlex.split(self.env_file.read_text(), comments=True)
        except FileNotFoundError:
            return {}
        return dict(word.split("=", 1) for word in words if "=" in word)

    def delete(self) -> None:
        """Delete what this package wrote here, and the directory if nothing else is in it."""
        for name in _DIRECTORIES:
            shutil.rmtree(self.directory / name, ignore_errors=True)
        for path in (self.env_file, self.agencies_file, self._record, self._key, self.lock):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.directory.rmdir()


def current_week(now: datetime) -> date:
    """The first day of the reporting week that the instant `now` (aware) is in: a Saturday in New York."""
    today = now.astimezone(_ZONE).date()
    return today - timedelta(days=(today.weekday() - _SATURDAY) % 7)
