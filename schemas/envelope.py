"""The CloudEvents 1.0 envelope of every event, and the types that its fields share with the data.

There is no free text: each string is a code, an identifier of a known form or an instant, so that no field can contain
a person's name.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from schemas.instant import EARLIEST, LATEST
from schemas.tracing import Traceparent, Tracestate

SCHEMA_VERSION = 1
"""The version of every event's schema, the last part of its `dataschema`."""

UUID_PATTERN = r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$"
INSTANT_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
AGENCY_PATTERN = r"[a-z0-9][a-z0-9-]{0,62}"
URI_PATTERN = r"[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]{1,200}"
EVENT_ID_PATTERN = r"[A-Za-z0-9._:/=+-]{1,128}"
FACILITY_PATTERN = r"[A-Z0-9-]{2,16}"
ATTRIBUTE_PATTERN = r"([a-z0-9]{1,20}|data_base64)"
"""An attribute's name (CloudEvents, section 3.1), or the name of the binary data (JSON format, section 3.1)."""
JSON_TYPE_PATTERN = (
    "[Aa][Pp][Pp][Ll][Ii][Cc][Aa][Tt][Ii][Oo][Nn]/[Jj][Ss][Oo][Nn]"
    '( *; *[Cc][Hh][Aa][Rr][Ss][Ee][Tt]=("[Uu][Tt][Ff]-8"|[Uu][Tt][Ff]-8))?'
)
"""The media type application/json in any letter case, optionally with charset UTF-8 (RFC 8259, section 8.1)."""

_INSTANT = re.compile(INSTANT_PATTERN)
_LEAP_SECOND = re.compile(r"^[0-9-]{10}[Tt][0-9]{2}:[0-9]{2}:60")
_WITHOUT_OFFSET = re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9:.]*)?$")


def _instant(value: object) -> datetime:
    """Parse RFC 3339 text as UTC with microseconds. Further digits are truncated, not rounded."""
    if not isinstance(value, str):
        raise PydanticCustomError("wrong-type", "must be a string: an RFC 3339 date-time")
    if not _INSTANT.match(value):
        if _WITHOUT_OFFSET.match(value):
            raise PydanticCustomError("naive-timestamp", "must carry an offset, such as Z or -05:00")
        if _LEAP_SECOND.match(value):
            raise PydanticCustomError("bad-timestamp", "must not be a leap second (:60); write second 59")
        raise PydanticCustomError("bad-timestamp", "must be an RFC 3339 date-time with an offset")
    head, dot, tail = value.upper().partition(".")
    if dot:
        digits = re.match(r"[0-9]+", tail)
        assert digits is not None
        value = f"{head}.{digits[0][:6].ljust(6, '0')}{tail[digits.end() :]}"
    try:
        instant = datetime.fromisoformat(value.upper().replace("Z", "+00:00")).astimezone(UTC)
    except (ValueError, OverflowError):
        raise PydanticCustomError("bad-timestamp", "must be an existing date and time") from None
    if not EARLIEST <= instant < LATEST:
        raise PydanticCustomError("bad-timestamp", "must be in the years 1900 to 2199")
    return instant


Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": INSTANT_PATTERN}),
]
"""RFC 3339 text with an offset, parsed to a UTC `datetime`."""

Uuid = Annotated[str, Field(pattern=UUID_PATTERN), AfterValidator(str.lower)]
"""Any UUID, converted to lower case."""

Source = Annotated[str, Field(pattern=f"^/agencies/{AGENCY_PATTERN}$")]
UriReference = Annotated[str, Field(pattern=f"^{URI_PATTERN}$")]
EventId = Annotated[str, Field(pattern=f"^{EVENT_ID_PATTERN}$")]


def _json_type(value: str) -> str:
    if not re.fullmatch(JSON_TYPE_PATTERN, value):
        raise PydanticCustomError("unknown-code", "must be application/json, in UTF-8")
    return value


JsonType = Annotated[
    str, AfterValidator(_json_type), WithJsonSchema({"type": "string", "pattern": f"^{JSON_TYPE_PATTERN}$"})
]


class Strict(BaseModel):
    """Base of all input models: no unknown fields, no coercion, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _unset(schema: dict[str, Any]) -> None:
    """Allow null for attributes that are unknown: null means absent (JSON format, section 2.2)."""
    schema["additionalProperties"] = {"type": "null"}
    schema["propertyNames"] = {"pattern": f"^{ATTRIBUTE_PATTERN}$"}


class Envelope(Strict):
    """CloudEvents 1.0 context attributes in structured JSON. Null attributes are removed before validation."""

    model_config = ConfigDict(json_schema_extra=_unset)

    specversion: Literal["1.0"]
    id: EventId
    source: Source
    subject: Uuid
    time: Instant
    dataschema: UriReference
    datacontenttype: JsonType | None = Field(default=None, description="Absent: application/json.")
    traceparent: Traceparent | None = Field(
        default=None, description="Extension Distributed Tracing: stored in the record, not part of the fact."
    )
    tracestate: Tracestate | None = Field(default=None, description="As traceparent.")
    redriveof: Annotated[str, Field(pattern=r"^[a-z-]{1,64}/[0-9]{1,5}/[0-9]{1,19}$")] | None = Field(
        default=None,
        description="Set by `ddor rejected redrive`: topic/partition/offset of the rejected record.",
    )

    @property
    def agency(self) -> str:
        """The agency's name, the last part of `source`."""
        return self.source.rpartition("/")[2]
