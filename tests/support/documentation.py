"""The site of the documentation, as `make docs` builds it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]


def built(directory: Path) -> Path:
    """Build the site in a directory. Fails for each warning, with all of them."""
    done = build(ROOT / "mkdocs.yml", directory)
    assert done.returncode == 0, done.stderr
    return directory


def build(config: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run mkdocs as `make docs` does."""
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--config-file",
        str(config),
        "--site-dir",
        str(directory),
    ]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )


def address(path: str) -> str:
    """The path in the site of a file of the repository."""
    page = PurePosixPath(path)
    if page.suffix != ".md":
        return path
    return page.with_name("index.html" if page.stem == "README" else f"{page.stem}.html").as_posix()
