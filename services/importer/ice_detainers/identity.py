"""Which detainer a row is, so that two releases of one agency give one identity. Pure.

The key is what both releases have: agency, prepare date, facility, form and the anonymized identifier. Rows with equal
keys are numbered in the file's order. The data set's name is not part of it. What it can and cannot distinguish:
docs/decisions/0021-identity-across-releases.md.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from uuid import NAMESPACE_URL, UUID, uuid5

from services.importer.rows import Identity

_SIGNS = re.compile(r"[^A-Z0-9]+")
_DIGEST = 8
"""Bytes: among a million keys two digests are equal with a chance of one in 37 million."""


@dataclass(frozen=True, slots=True)
class Described:
    """The values of a row that determine its identity; blank if the file does not have them."""

    prepared: date
    facility_code: str
    facility: str
    city: str
    state: str
    form: str
    identifier: str
    steady: tuple[str, ...] = ()
    """Attributes of the person that a later release does not change, such as the birth year."""


class Identities:
    """Gives the identities of one file's rows, in the file's order. It stores 8 bytes per key."""

    def __init__(self, agency: str) -> None:
        """`agency` names the sender; the same row sent by another agency is another detainer."""
        self._namespace: UUID = uuid5(NAMESPACE_URL, agency)
        # A dictionary for each day: one of all keys takes twice its memory each time it grows.
        self._seen: defaultdict[date, dict[int, int]] = defaultdict(dict)

    def next(self, row: Described) -> Identity:
        """The identity of the next row."""
        place = row.facility_code or "/".join(_spelling(one) for one in (row.facility, row.city, row.state))
        known = (row.prepared.isoformat(), place.upper(), row.form)
        full = _digest((*known, row.identifier))
        short = int.from_bytes(full[:_DIGEST])
        seen = self._seen[row.prepared]
        ordinal = seen.get(short, 0)
        seen[short] = ordinal + 1
        name = uuid5(self._namespace, f"{full.hex()}/{ordinal}")
        return Identity(str(name), full, _digest((*known, *(_spelling(one) for one in row.steady))), ordinal)


def _spelling(text: str) -> str:
    return _SIGNS.sub(" ", text.upper()).strip()


def _digest(parts: tuple[str, ...]) -> bytes:
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).digest()
