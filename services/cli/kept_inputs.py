"""The inputs of a report as the database keeps them, and whether this program can read the log as it was read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import asyncpg

from schemas.acceptance import RULES_VERSION
from services.cli.findings import Findings
from services.cli.resuming import SQL as CLI_SQL
from services.publisher.closing import Offsets
from services.publisher.rules import InputMissingError, Rules
from services.publisher.snapshot import SQL
from services.runtime.errors import CallerError


class OtherRulesError(CallerError):
    """The log was read by other acceptance rules than this program's; a release that has them can verify."""


async def rules(connection: asyncpg.Connection[Any], document: dict[str, Any], findings: Findings) -> Rules | None:
    """The inputs as they were; None when one is not what its digest says.

    InputMissingError when one is not there; OtherRulesError when the log was read by rules that are not this program's.
    """
    inputs: dict[str, str] = document["inputs"]
    kept = {
        row["sha256"]: bytes(row["content"]) for row in await connection.fetch(SQL["inputs"], list(inputs.values()))
    }
    contents = {}
    for name, sha256 in sorted(inputs.items()):
        content = kept.get(sha256)
        if content is None:
            raise InputMissingError(f"the input {name} ({sha256}) is not in the table input; a backup may have it")
        contents[name] = content
    wrong = [name for name, content in contents.items() if hashlib.sha256(content).hexdigest() != inputs[name]]
    for name in wrong:
        findings.note(False, f"input {name}", f"is not what its digest {inputs[name]} says")
    if wrong:
        return None
    findings.note(True, "inputs", f"{len(contents)} as their digests say")
    found = Rules(contents)
    _check(found, await connection.fetch(CLI_SQL["acceptance_rules"]), document["offsets"])
    return found


def _check(rules: Rules, noted: Sequence[asyncpg.Record], vector: Offsets) -> None:
    """OtherRulesError when a part of the log below the vector was read by rules that this program does not have."""
    if rules.acceptance != RULES_VERSION:
        raise OtherRulesError(f"the report was made with acceptance rules {rules.acceptance}, here are {RULES_VERSION}")
    for one in noted:
        end = vector.get(one["topic"], {}).get(str(one["partition"]), 0)
        if one["version"] != RULES_VERSION and one["from_offset"] < end:
            place = f"{one['topic']}/{one['partition']}/{one['from_offset']}"
            raise OtherRulesError(f"from {place} on acceptance rules {one['version']} held, here are {RULES_VERSION}")
