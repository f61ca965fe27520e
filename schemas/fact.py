"""A fact: one accepted detainer event in normalized form, with its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from schemas.detainer import Kind

Offenses = tuple[tuple[str, str], ...]
"""(category, basis), sorted, each once."""


class Fact(msgspec.Struct, frozen=True, gc=False):
    """An identity (kind, agency, detainer_id) at one version. Instants are microseconds since 1970, UTC."""

    kind: Kind
    agency: str
    detainer_id: str
    version: int
    withdrawn: bool
    withdrawn_reason: str | None
    jurisdiction: str
    operator: str
    location: str | None
    facility: str | None
    issued_us: int
    declined_us: int | None
    recorded_us: int | None
    form: str | None
    reason: str | None
    citizenship: str | None
    offenses: Offenses | None

    @property
    def identity(self) -> tuple[Kind, str, str]:
        """The key that all versions of one detainer share."""
        return self.kind, self.agency, self.detainer_id

    @property
    def topic(self) -> str:
        """The Kafka topic of the event."""
        return self.kind.topic

    @property
    def key(self) -> str:
        """The key of the Kafka record."""
        return self.detainer_id

    @property
    def counted_us(self) -> int:
        """The instant that decides the week: `issued_us` of an issued, `recorded_us` of a declined detainer."""
        return self.issued_us if self.recorded_us is None else self.recorded_us

    @property
    def fingerprint(self) -> bytes:
        """128-bit BLAKE2b over the normalized data, one field per line in this order.

        The text is unambiguous: no field can contain a line break, and an absent field is None, which is not a code.
        The agency and the envelope are not included, so a retry with another event id, time or key order has the same
        fingerprint.
        """
        offenses = self.offenses
        listed = None if offenses is None else ",".join([f"{category}:{basis}" for category, basis in offenses])
        # !s is str() without format(), which is slow for None, bool and enum members.
        text = (
            f"{self.kind!s}\n{self.detainer_id}\n{self.version}\n{self.withdrawn!s}\n{self.withdrawn_reason!s}\n"
            f"{self.jurisdiction}\n{self.operator}\n{self.location!s}\n{self.facility!s}\n{self.issued_us}\n"
            f"{self.declined_us!s}\n{self.recorded_us!s}\n{self.form!s}\n{self.reason!s}\n{self.citizenship!s}\n"
            f"{listed!s}"
        )
        return hashlib.blake2b(text.encode(), digest_size=16).digest()


def normalize(offenses: Iterable[tuple[str, str]]) -> Offenses:
    """Sort and remove duplicates: a person with two counts of one offense has that offense."""
    return tuple(sorted(set(offenses)))
