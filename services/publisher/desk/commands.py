"""The commands that operators copy: quoted for a shell, whatever a name in the database contains. Pure."""

from __future__ import annotations

import shlex

_BY = '--by "YOUR NAME"'


def release(week: object) -> str:
    """Publish a week that a gate holds."""
    return f'ddor release {_quoted(week)} {_BY} --note "WHAT YOU CHECKED"'


def resume(partition: object) -> str:
    """Resume a halted partition."""
    return f"ddor resume {_quoted(partition)} {_BY}"


def restate(week: object) -> str:
    """Publish the next revision of a week."""
    return f'ddor restate {_quoted(week)} {_BY} --reason "WHY"'


def verify(week: object) -> str:
    """Count the log again and compare it with the week's report."""
    return f"ddor verify {_quoted(week)}"


def audit() -> str:
    """Prove the whole ledger."""
    return f"ddor audit {_BY}"


def list_rejects(reason: object) -> str:
    """List the records that were rejected for a reason."""
    return f"ddor rejected list --reason {_quoted(reason)}"


def _quoted(argument: object) -> str:
    return shlex.quote(str(argument))
