"""The earlier releases, and their code from the history of Git.

No release has a tag yet, so a release is the last commit with a schema: the commit before the next migration was added.
Migrations 5 and 6 came with 7 in one commit, so no program ever ran with schema 5 or 6.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SCHEMAS: Final[Mapping[int, str]] = {
    1: "e3242ae",
    2: "dc0273b",
    3: "0e61b23",
    4: "776535e",
    7: "853e6b4",
    8: "a1d6c08",
    9: "230b5d7",
}
"""By the number of the newest migration: the last commit with this schema."""
NEVER_RUN: Final = {5, 6}
"""Schemas that no release had as its newest."""


PACKAGES: Final = Path(os.environ.get("DDOR_CACHE", "~/.cache/ddor")).expanduser() / "former"
"""Where `python -m tests.former.record --install` puts the packages of earlier releases."""
_PINS = "requirements/runtime.txt"


@dataclass(frozen=True)
class Release:
    """The code of a commit in a directory, and a Python with the packages that it needs."""

    source: Path
    python: str

    @property
    def command(self) -> Sequence[str]:
        """Its `ddor`. Without -P, Python would import the project in the current directory."""
        path = f"PYTHONPATH={self.source}"
        return ["env", path, "PYTHONDONTWRITEBYTECODE=1", self.python, "-P", "-m", "services.cli.main"]


def environment_of(code: Path) -> Path:
    """The virtual environment for this code: one for each list of pinned packages. It may not exist."""
    return PACKAGES / hashlib.sha256((code / _PINS).read_bytes()).hexdigest()[:12]


def python_of(code: Path) -> str | None:
    """A Python with the packages of this code: its own environment, else the present one if it has all of them."""
    own = environment_of(code) / "bin" / "python"
    if own.exists():
        return str(own)
    names = re.findall(r"^([A-Za-z0-9._-]+)==", (code / _PINS).read_text(), re.MULTILINE)
    return sys.executable if all(map(_is_installed, names)) else None


def install(code: Path) -> str:
    """Create the environment of this code with exactly its pinned packages. Returns its Python."""
    place = environment_of(code)
    python = str(place / "bin" / "python")
    if not Path(python).exists():
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", str(code / _PINS)]
        subprocess.run(pip, check=True)
    return python


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def is_known(commit: str) -> bool:
    """Whether the clone has this commit. A shallow clone, or an archive without history, does not."""
    try:
        found = subprocess.run(
            ["git", "-C", ROOT, "cat-file", "-e", f"{commit}^{{commit}}"], capture_output=True, check=False, timeout=60
        )
    except FileNotFoundError:
        return False
    return found.returncode == 0


def source(commit: str, directory: Path) -> Path:
    """Extract the code of a commit to the new `directory`, as if it were installed there. Returns the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    archive = subprocess.run(["git", "-C", ROOT, "archive", commit], stdout=subprocess.PIPE, check=True, timeout=60)
    subprocess.run(["tar", "-x", "-C", directory], input=archive.stdout, check=True, timeout=60)
    # The services report the version of the installed package.
    version = tomllib.loads((directory / "pyproject.toml").read_text())["project"]["version"]
    described = directory / f"weekly_detainer_report-{version}.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: weekly-detainer-report\nVersion: {version}\n")
    return directory
