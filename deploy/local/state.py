"""Files in the state directory: the recorded stack, the demo agency, the `env` file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deploy.local.private_files import write_private

AGENCY = "demo"
_DIRECTORIES = ("run", "logs", "kafka", "postgres")


@dataclass(frozen=True)
class Record:
    """The choices of a stack, so that the next `up` starts the same stack again."""

    kafka: str
    """Source of Kafka (`PartSource`). It stays until the data are deleted: they do not work with another source."""
    postgres: str
    first_week: str
    """Recorded, because a later one would leave the weeks in between without a report."""
    ports: dict[str, int] = field(default_factory=dict)
    """By service name."""
    zone: str = "America/New_York"
    week_starts_on: str = "SATURDAY"
    """The calendar. It cannot change once facts are counted."""


class State:
    """A state directory. It is created by the first write."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.env_file = self.directory / "env"
        self.agencies_file = self.directory / "agencies.toml"
        self.lock = self.directory / "lock"
        self._record = self.directory / "stack.json"
        self._key = self.directory / f"{AGENCY}.key"

    def read_record(self) -> Record | None:
        """The record of the last `up`, or None."""
        try:
            return Record(**json.loads(self._record.read_text()))
        except FileNotFoundError:
            return None

    def write_record(self, record: Record) -> None:
        """Store the record for the next `up`."""
        write_private(self._record, json.dumps(asdict(record), indent=2) + "\n")

    def agency_key(self) -> str:
        """The demo agency's bearer key, created at random by the first call. Also writes the agencies file."""
        try:
            key = self._key.read_text().strip()
        except FileNotFoundError:
            key = secrets.token_urlsafe(32)
            write_private(self._key, key + "\n")
        digest = hashlib.sha256(key.encode()).hexdigest()
        write_private(
            self.agencies_file,
            "# The demo agency may send all events. Its key is in demo.key.\n"
            f'[[agency]]\nname = "{AGENCY}"\nkey_sha256 = ["{digest}"]\n'
            'kinds = ["issued", "declined"]\njurisdictions = ["*"]\n',
        )
        return key

    def write_env(self, variables: Mapping[str, str]) -> None:
        """Write the file `env` for a shell's `source`. Only the owner can read it."""
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
        write_private(self.env_file, "".join(lines))

    def read_env(self) -> dict[str, str]:
        """The variables in the file `env`, if it exists."""
        try:
            words = shlex.split(self.env_file.read_text(), comments=True)
        except FileNotFoundError:
            return {}
        return dict(word.split("=", 1) for word in words if "=" in word)

    def delete(self) -> None:
        """Delete the files of this package, and the directory if it is then empty."""
        for name in _DIRECTORIES:
            shutil.rmtree(self.directory / name, ignore_errors=True)
        for path in (self.env_file, self.agencies_file, self._record, self._key, self.lock):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.directory.rmdir()
