"""The inputs of a report from the database, and a check that this program has the acceptance rules of that time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import asyncpg

from schemas.acceptance import RULES_VERSION
from schemas.log import Partition, RecordAddress, Vector
from services.cli.queries import SQL as CLI_SQL
from services.cli.verify_findings import Findings
from services.publisher.inputs import InputMissingError, ReportInputs
from services.publisher.queries import SQL
from services.runtime.errors import CallerError


class OtherRulesError(CallerError):
    """The log was read with other acceptance rules than those of this program. Verify with a release that has them."""


async def read(
    connection: asyncpg.Connection[Any], document: dict[str, Any], findings: Findings
) -> ReportInputs | None:
    """The inputs that the report was made with. None if the content of one does not have its digest.

    Raises InputMissingError, and OtherRulesError if the log was read with rules that this program does not have.
    """
    inputs: dict[str, str] = document["inputs"]
    stored = {
        row["sha256"]: bytes(row["content"]) for row in await connection.fetch(SQL["inputs"], list(inputs.values()))
    }
    contents = {}
    for name, sha256 in sorted(inputs.items()):
        content = stored.get(sha256)
        if content is None:
            raise InputMissingError(
                f"the input {name} ({sha256}) is not in the table input: restore the row from a backup"
            )
        contents[name] = content
    wrong = [name for name, content in contents.items() if hashlib.sha256(content).hexdigest() != inputs[name]]
    for name in wrong:
        findings.note(False, f"input {name}", f"does not have the digest {inputs[name]}")
    if wrong:
        return None
    findings.note(True, "inputs", f"{len(contents)} inputs have their digests")
    if rules := contents.get("rules"):  # first, because a release with other rules may have had other inputs, too
        version = json.loads(rules)["acceptance"]
        _check(version, await connection.fetch(CLI_SQL["acceptance_rules"]), Vector.from_json(document["offsets"]))
    return ReportInputs(contents)


def _check(version: int, noted: Sequence[asyncpg.Record], vector: Vector) -> None:
    """Raises OtherRulesError if records below the vector were read with rules that this program does not have."""
    if version != RULES_VERSION:
        raise OtherRulesError(
            f"made with acceptance rules {version}, but this program has {RULES_VERSION}: verify it with a release that"
            f" has acceptance rules {version}"
        )
    for one in noted:
        start = RecordAddress(Partition(one["topic"], one["partition"]), one["from_offset"])
        if one["version"] != RULES_VERSION and vector.covers(start.partition, start.offset):
            raise OtherRulesError(
                f"read with acceptance rules {one['version']} from {start} on, but this program has {RULES_VERSION}:"
                f" only a release with acceptance rules {one['version']} can read these records in the same way"
            )
