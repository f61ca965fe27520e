"""The same five things as `model.outcome`, read from the database."""

from __future__ import annotations

from typing import Any

from tests.support.positions import Connection

_COLUMNS = (
    "kind::text AS kind, a.name AS agency, detainer_id, version, fingerprint, week, jurisdiction, withdrawn, form"
)
_ALL = (
    "ledger_entry",
    "history",
    "attestation",
    "decline_detail",
    "weekly_counter",
    "rejected",
    "rejected_raw",
    "partition_position",
)


async def outcome(connection: Connection) -> dict[str, Any]:
    """Ledger, history, open conflicts, weekly counters, details of declines, and what agencies attest."""
    ledger = await connection.fetch(f"SELECT {_COLUMNS} FROM ledger_entry f JOIN agency a ON a.id = f.agency")
    history = await connection.fetch(f"SELECT {_COLUMNS} FROM history f JOIN agency a ON a.id = f.agency")
    conflicts = await connection.fetch("SELECT * FROM open_conflict")
    counters = await connection.fetch("SELECT * FROM weekly_counter")
    declines = await connection.fetch(
        "SELECT a.name, d.* FROM decline_detail d JOIN agency a ON a.id = d.agency ORDER BY detainer_id"
    )
    attested = await connection.fetch("SELECT * FROM attested")
    attestations = await connection.fetch(
        "SELECT name AS agency, week, version, fingerprint, issued, declined"
        " FROM attestation JOIN agency ON id = agency"
    )
    return {
        "attested": {(row["agency"], row["week"]): _numbers(row) for row in attested},
        "attestations": {(row["agency"], row["week"], *_numbers(row)[:2]): _numbers(row)[2:] for row in attestations},
        "ledger": {_identity(row): _fact(row) for row in ledger},
        "history": {(*_identity(row), row["version"], bytes(row["fingerprint"])): _fact(row) for row in history},
        "open conflicts": {_identity(row): (row["version"], row["fingerprints"]) for row in conflicts},
        "counters": {(row["week"], row["jurisdiction"], row["kind"]): row["n"] for row in counters},
        "decline details": {(row["name"], str(row["detainer_id"])): _details(dict(row)) for row in declines},
    }


async def forget(connection: Connection) -> None:
    """Empty all tables that the aggregator writes."""
    await connection.execute("".join(f"DELETE FROM {table};" for table in _ALL))


def _identity(row: Any) -> tuple[str, str, str]:
    return row["kind"], row["agency"], str(row["detainer_id"])


def _numbers(row: Any) -> tuple[Any, ...]:
    return row["version"], bytes(row["fingerprint"]), row["issued"], row["declined"]


def _fact(row: Any) -> dict[str, Any]:
    names = ("version", "week", "jurisdiction", "withdrawn", "form")
    return {name: row[name] for name in names} | {"fingerprint": bytes(row["fingerprint"])}


def _details(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in {"name", "agency", "detainer_id"}}
