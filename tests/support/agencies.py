"""The agencies of the tests and their keys."""

from __future__ import annotations

import hashlib
from pathlib import Path

LAS_VEGAS = "ice-las-vegas"
NEW_YORK = "ice-new-york"
EXPIRED = "ice-expired"
SCOPES = {
    LAS_VEGAS: ('["issued", "declined"]', '["32*", "US"]', ""),
    NEW_YORK: ('["issued"]', '["36*"]', ""),
    EXPIRED: ('["issued"]', '["01*"]', "valid_to = 2017-01-01T00:00:00Z\n"),
}


def key_of(agency: str) -> str:
    """The bearer key of an agency."""
    return f"key-of-{agency}"


def write_agencies(path: Path) -> Path:
    """Write the agencies file."""
    tables = []
    for name, (kinds, jurisdictions, more) in SCOPES.items():
        digest = hashlib.sha256(key_of(name).encode()).hexdigest()
        tables.append(
            f'[[agency]]\nname = "{name}"\nkey_sha256 = ["{digest}"]\n'
            f"kinds = {kinds}\njurisdictions = {jurisdictions}\n{more}"
        )
    path.write_text("\n".join(tables))
    return path
