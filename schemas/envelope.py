"""The CloudEvents 1.0 envelope of every event, and the types that its fields share with the data.

Nothing here is free text: each string is a code, an identifier of a known shape or an instant, so that a person's
name has nowhere to be.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from schemas.instant import EARLIEST, LATEST

UUID_PATTERN = r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$"
INSTANT_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
AGENCY_PATTERN = r"[a-z0-9][a-z0-9-]{0,62}"
URI_PATTERN = r"[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]{1,200}"
EVENT_ID_PATTERN = r"[A-Za-z0-9._:/=+-]{1,128}"
FACILITY_PATTERN = r"[A-Z0-9-]{2,16}"

_INSTANT = re.compile(INSTANT_PATTERN)
_WITHOUT_OFFSET = re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9:.]*)?$")


def _instant(value: object) -> datetime:
    """Read RFC 3339 text as UTC with microseconds; finer digits are cut, not rounded."""
    if not isinstance(value, str):
        raise PydanticCustomError("wrong-type", "must be a string: an RFC 3339 date-time")
    if not _INSTANT.match(value):
        if _WITHOUT_OFFSET.match(value):
            raise PydanticCustomError("naive-timestamp", "must carry an offset, such as Z or -05:00")
        raise PydanticCustomError("bad-timestamp", "must be an RFC 3339 date-time with an offset")
    head, dot, tail = value.upper().partition(".")
    if dot:
        digits = re.match(r"[0-9]+", tail)
        assert digits is not None
        value = f"{head}.{digits[0][:6].ljust(6, '0')}{tail[digits.end() :]}"
    try:
        instant = datetime.fromisoformat(value.upper().replace("Z", "+00:00")).astimezone(UTC)
    except (ValueError, OverflowError):
        raise PydanticCustomError("bad-timestamp", "must be a date and time that exist") from None
    if not EARLIEST <= instant < LATEST:
        raise PydanticCustomError("bad-timestamp", "must lie between the years 1900 and 2199")
    return instant


Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": INSTANT_PATTERN}),
]
"""RFC 3339 with an offset; a UTC `datetime` once read."""

Uuid = Annotated[str, Field(pattern=UUID_PATTERN), AfterValidator(str.lower)]
"""Any UUID; lower-case once read."""

Source = Annotated[str, Field(pattern=f"^/agencies/{AGENCY_PATTERN}$")]
UriReference = Annotated[str, Field(pattern=f"^{URI_PATTERN}$")]
EventId = Annotated[str, Field(pattern=f"^{EVENT_ID_PATTERN}$")]


class Strict(BaseModel):
    """Base of all that is read: no unknown field, no coercion, no change after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Envelope(Strict):
    """CloudEvents 1.0 context attributes, structured JSON."""

    specversion: Literal["1.0"]
    id: EventId
    source: Source
    subject: Uuid
    time: Instant
    dataschema: UriReference
    datacontenttype: Literal["application/json"]
    redriveof: Annotated[str, Field(pattern=r"^[a-z-]{1,64}/[0-9]{1,5}/[0-9]{1,19}$")] | None = Field(
        default=None,
        description="Set by `ddor rejected redrive`: topic/partition/offset of the rejected record.",
    )

    @property
    def agency(self) -> str:
        """The agency's name, the last part of `source`."""
        return self.source.rpartition("/")[2]
