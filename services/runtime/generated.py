"""Writes committed files that are generated from the code, or compares them with `--check`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def main(files: Mapping[Path, str], command: str, arguments: Sequence[str], present: Iterable[Path] = ()) -> int:
    """Write the files. With `--check`, write nothing and return 1 if a file differs, is missing or is superfluous.

    `command` writes them and is named in the message. `present`: all existing files of this kind, if others than
    `files` must not exist.
    """
    if "--check" not in arguments:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return 0
    outdated = [path for path in files if not path.exists() or path.read_text(encoding="utf-8") != files[path]]
    outdated += [path for path in present if path not in files]
    for path in outdated:
        sys.stderr.write(f"{path.name} is out of date: run {command}\n")
    return 1 if outdated else 0
