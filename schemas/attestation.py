"""An agency's own count of a week: the `data` of week-attested events, and the attestation read from them.

Counting does not depend on it. A report shows it next to the counted figures, so that a reader can distinguish a quiet
week from an incomplete one.
"""

from __future__ import annotations

import hashlib
from datetime import date
from typing import Annotated, Literal, Self

import msgspec
from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.detainer import MAX_VERSION, Kind
from schemas.envelope import Envelope, Strict
from schemas.instant import EARLIEST, LATEST
from schemas.topics import WEEK_ATTESTED

MAX_COUNT = 2**31 - 1


def _day(value: str) -> str:
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise PydanticCustomError("bad-timestamp", "must be an existing date") from None
    if not EARLIEST.date() <= day < LATEST.date():
        raise PydanticCustomError("bad-timestamp", "must be in the years 1900 to 2199")
    return value


Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(_day)]
"""A date, such as 2017-01-28."""

Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]


class Counts(Strict):
    """The agency's number of detainers of each kind in the week, without withdrawn ones."""

    issued: Count | None = None
    declined: Count | None = None


class AttestedData(Strict):
    """An agency's own count of a week. A later version replaces it; a version without counts retracts it."""

    week_start: Day = Field(description="First day of the reporting week.")
    version: int = Field(ge=1, le=MAX_VERSION, description="Increasing; the highest wins in any order of arrival.")
    counts: Counts


class WeekAttested(Envelope):
    """CloudEvent `week-attested`."""

    type: Literal["week-attested"]
    subject: Day
    data: AttestedData

    @model_validator(mode="after")
    def _subject_is_week(self) -> Self:
        if self.subject != self.data.week_start:
            message = "must equal data.week_start"
            raise PydanticCustomError("subject-mismatch", message, {"field": "subject"})
        return self


class Attestation(msgspec.Struct, frozen=True, gc=False):
    """An agency's count of a week at one version. None: the agency attests no number of that kind."""

    agency: str
    week: date
    version: int
    issued: int | None
    declined: int | None

    @property
    def topic(self) -> str:
        """The Kafka topic of the event."""
        return WEEK_ATTESTED

    @property
    def key(self) -> str:
        """The key of the Kafka record."""
        return str(self.week)

    @property
    def kinds(self) -> set[Kind]:
        """The kinds with an attested number."""
        return {kind for kind, n in ((Kind.ISSUED, self.issued), (Kind.DECLINED, self.declined)) if n is not None}

    @property
    def fingerprint(self) -> bytes:
        """128-bit BLAKE2b over the normalized data, like the fingerprint of a detainer's fact."""
        text = f"attested\n{self.week}\n{self.version}\n{self.issued}\n{self.declined}"
        return hashlib.blake2b(text.encode(), digest_size=16).digest()


def attestation(event: WeekAttested) -> Attestation:
    """The attestation of a valid event."""
    data = event.data
    week = date.fromisoformat(data.week_start)
    return Attestation(event.agency, week, data.version, data.counts.issued, data.counts.declined)
