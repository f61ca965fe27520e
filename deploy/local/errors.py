"""Errors of local parts and services. Their messages are shown on the terminal."""

from __future__ import annotations

from pathlib import Path


class LocalError(Exception):
    """A local part or service cannot be started, found or stopped."""


class PartUnavailableError(LocalError):
    """This machine cannot run the part. Install something or change a setting."""


class PartFailedError(LocalError):
    """The part exited or did not respond in time. The message ends with the last lines of its log."""


def log_tail(log: Path, lines: int = 20) -> str:
    """The last `lines` lines of a log file, indented, or a sentence that the file is empty."""
    try:
        text = log.read_text(errors="replace").rstrip()
    except FileNotFoundError:
        text = ""
    if not text:
        return f"    ({log} is empty)"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
