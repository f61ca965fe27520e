"""`ddor policies`: load and show the registry of policies limiting detainers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer

from services.cli.console import WRONG_USE, err, impersonal, out, report_caller_errors, run
from services.cli.queries import SQL
from services.publisher import policy_file, policy_registry
from services.publisher.policy_file import PolicyFileError, PolicyRow
from services.publisher.policy_registry import ListedPolicy
from services.runtime import postgres, settings
from services.runtime.errors import CallerError

app = typer.Typer(help="Load and show the registry of policies limiting detainers.", no_args_is_help=True)

_SHOWN = 100


class NoPoliciesError(CallerError):
    """There is no such version of the registry of policies. Load one with `ddor policies load`."""


@app.command("load")
def load(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="CSV file; see 'ddor policies template'.")
    ],
    by: Annotated[str, typer.Option("--by", callback=impersonal, help="Your name. Stored with the version.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Only check the file, without PostgreSQL.")] = False,
) -> None:
    """Load a file of policies limiting detainers as the new version of the registry.

    Example: ddor policies load policies.csv --by "A. Smith"

    The file replaces the registry as a whole, or nothing is loaded; earlier versions remain. Reports that are written
    from now on list the policies that are valid on the last day of their week. Published revisions do not change, and a
    changed registry is no reason for a new revision.

    Exit code 2: the file is not valid. Each message names line, field and rule.
    """
    with file.open("rb") as opened:
        raw = opened.read(policy_file.MAX_BYTES + 1)
    run(_load(file, raw, by, check))


async def _load(file: Path, raw: bytes, by: str, check: bool) -> int:
    try:
        rows = policy_file.parse(raw)
    except PolicyFileError as error:
        for one in error.findings[:_SHOWN]:
            err.print(f"{file}: {one}", highlight=False, soft_wrap=True)
        err.print(f"{file}: {len(error.findings)} errors; nothing is loaded", highlight=False, soft_wrap=True)
        return WRONG_USE
    if check:
        out.print(f"{file}: {_count(one.policy for one in rows)}; valid", highlight=False, soft_wrap=True)
        return 0
    if not by.strip():
        raise CallerError("--by is required: your name is stored with the version")
    connection = await postgres.connect(settings.load(), "ddor-policies")
    try:
        async with connection.transaction():
            await connection.execute(SQL["lock_policies"])
            said = await _add(connection, rows, by, hashlib.sha256(raw).hexdigest())
    finally:
        await connection.close()
    out.print(said, highlight=False, soft_wrap=True)
    return 0


async def _add(connection: asyncpg.Connection[Any], rows: list[PolicyRow], by: str, file_sha256: str) -> str:
    """Add a version, unless the newest is the same. Returns the message for the operator."""
    content = policy_registry.content(one.policy for one in rows)
    sha256 = hashlib.sha256(content).hexdigest()
    contacts = {f"{one.policy.jurisdiction}/{one.policy.valid_from}": one.contact for one in rows if one.contact}
    newest = await connection.fetchrow(SQL["policy_version"], None)
    if newest is not None and (newest["sha256"], newest["contacts"]) == (sha256, contacts):
        return f"version {newest['version']} is the same, digest {sha256}; nothing done"
    version = newest["version"] + 1 if newest else 1
    await connection.execute(
        SQL["add_policies"], version, datetime.now(UTC), by, sha256, file_sha256, content, contacts
    )
    detail = {"policies": len(rows), "sha256": sha256, "file_sha256": file_sha256}
    await connection.execute(SQL["add_action"], by, "load-policies", f"version {version}", detail)
    before = policy_registry.read(newest["content"]).policies if newest else ()
    return f"version {version}: {_count(one.policy for one in rows)}; {_compared(before, rows)}; digest {sha256}"


def _count(policies: Iterable[ListedPolicy]) -> str:
    listed = list(policies)
    return f"policies {len(listed)}, jurisdictions {len({one.jurisdiction for one in listed})}"


def _compared(before: Iterable[ListedPolicy], rows: list[PolicyRow]) -> str:
    """How many policies were added, changed and removed, by jurisdiction and first valid day."""
    old, new = {one.key: one for one in before}, {one.policy.key: one.policy for one in rows}
    changed = sum(old[key] != new[key] for key in old.keys() & new.keys())
    return f"added {len(new.keys() - old.keys())}, changed {changed}, removed {len(old.keys() - new.keys())}"


@app.command("list")
def list_policies(
    version: Annotated[int | None, typer.Option(min=1, help="Version of the registry. Default: the newest.")] = None,
) -> None:
    """Show the versions of the registry, and the policies of one version.

    Example: ddor policies list --version 2

    The digest of a version is the input jurisdiction_policies in the reports that used it.
    """
    run(_list(version))


async def _list(version: int | None) -> int:
    connection = await postgres.connect(settings.load(), "ddor-policies")
    try:
        versions = await connection.fetch(SQL["policy_versions"])
        shown = await connection.fetchrow(SQL["policy_version"], version)
    finally:
        await connection.close()
    if shown is None:
        raise NoPoliciesError(str(NoPoliciesError.__doc__))
    for row in versions:
        _say(f"version {row['version']}, {row['loaded_at']:%Y-%m-%d %H:%M} UTC, {row['loaded_by']}, {row['sha256']}")
    _say(f"policies of version {shown['version']}:")
    for one in policy_registry.read(shown["content"]).policies:
        contact = shown["contacts"].get(f"{one.jurisdiction}/{one.valid_from}", "")
        period = f"{one.valid_from} to {one.valid_to or 'now'}"
        _say("  ".join(filter(None, [one.jurisdiction, period, " ".join(one.honors), one.source, contact])))
    return 0


def _say(line: str) -> None:
    out.print(line, highlight=False, soft_wrap=True)


@app.command("template")
@report_caller_errors
def template() -> None:
    """Print an empty file with the header and comments on columns and codes.

    Example: ddor policies template > policies.csv
    """
    out.print(policy_file.template(), end="", highlight=False, soft_wrap=True)
