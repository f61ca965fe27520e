"""Compares a report in the database with its announcement on `report-ready`."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import asyncpg

from services.cli.verify_findings import Findings, differences
from services.publisher import announcements, recovery
from services.publisher.announcements import Unreadable
from services.runtime import kafka
from services.runtime.settings import Settings


async def check(connection: asyncpg.Connection[Any], loaded: Settings, row: asyncpg.Record, findings: Findings) -> None:
    """Compare field by field. Each difference is a figure or offset that was changed after the announcement."""
    document = row["figures"]
    set_aside = await recovery.disregarded(connection)
    found = []
    async with aclosing(announcements.read(kafka.client(loaded, "ddor-verify"))) as listed:
        async for one in listed:
            if isinstance(one, Unreadable):
                if (str(one.address), one.sha256) not in set_aside:
                    why = f"claims to be an announcement but cannot be read: {one.why}"
                    findings.note(False, str(one.address), why)
            elif not one.final and (one.week, one.revision) == (row["week"], row["revision"]):
                found.append(one.data)
    if len(found) != 1:
        findings.note(False, "report-ready", f"{len(found)} messages announce this revision")
        return
    too_many = {name for name in ("jurisdictions", "changes") if found[0][name] is None}
    announced = {name: value for name, value in found[0].items() if name in document and name not in too_many}
    different = differences({name: document[name] for name in announced}, announced)
    for path, old, new in different:
        findings.note(False, path, f"report {old}, announcement {new}")
    if not different:
        findings.note(True, "report-ready", "one announcement, with the same content")
