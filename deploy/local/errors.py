"""What can go wrong while parts are brought up. Each message is written for the person at the terminal."""

from __future__ import annotations

from pathlib import Path


class LocalError(Exception):
    """Any failure to bring up, find or end a local part or service."""


class PartUnavailableError(LocalError):
    """This machine cannot run the part: something has to be installed or a setting changed."""


class PartFailedError(LocalError):
    """The part was started and died, or did not answer in time. The message ends with the tail of its log."""


def log_tail(log: Path, lines: int = 20) -> str:
    """The last `lines` lines of a log file, indented, or a sentence saying that it is empty or absent."""
    try:
        text = log.read_text(errors="replace").rstrip()
    except FileNotFoundError:
        text = ""
    if not text:
        return f"    ({log} is empty)"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
