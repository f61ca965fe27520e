"""The parser of `report-ready`. Every reader of announcements uses it.

Any client with write access to the topic can write arbitrary records to it. A record that cannot be an announcement is
skipped, counted and logged. A record that claims to be an announcement but cannot be parsed may hide a revision. It is
returned as Unreadable, and the caller decides.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, Protocol

from pydantic import ValidationError

from schemas.announcement import ReportFinal, ReportReady, final_id, report_id
from schemas.log import Partition, RecordAddress, Vector
from schemas.topics import REPORT_READY
from services.publisher.committed_records import read_committed
from services.runtime import metrics
from services.runtime.logs import get

log = get(__name__)

PARTITION: Final = Partition(REPORT_READY, 0)
"""The only partition of the topic."""
_MODELS: Mapping[str, type[ReportReady | ReportFinal]] = {"report-ready": ReportReady, "report-final": ReportFinal}
_SOURCE = "/publisher"
_WEEK = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FIELD = re.compile(r"[a-z_]{1,40}")
_MOST_REVISIONS = 2**31
_MOST_OFFSETS = 2**63
_LOGGED = 20
"""The maximum number of foreign records that one reading logs individually. The total is logged once."""


class Record(Protocol):
    """The fields of a Kafka record of `report-ready` that the parser uses."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


@dataclass(frozen=True, slots=True)
class Announced:
    """An announced revision, or (`final`) the announcement that its week is final.

    `data` contains the known fields in their JSON form, `value` the bytes of the record. `published_at` is in UTC.
    """

    week: date
    revision: int
    digest: str
    data: Mapping[str, Any]
    published_at: datetime
    final: bool
    offset: int
    value: bytes

    @property
    def event_id(self) -> str:
        """The id that the publisher gives to this event."""
        return final_id(self.week) if self.final else report_id(self.week, self.revision)

    def __str__(self) -> str:
        return f"{self.week} final" if self.final else f"{self.week}@{self.revision}"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that claims to be an announcement and cannot be parsed. `why` quotes no content of it."""

    offset: int
    why: str
    sha256: str

    @property
    def address(self) -> RecordAddress:
        """The address of the record."""
        return RecordAddress(PARTITION, self.offset)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A record that is not an announcement, and why."""

    offset: int
    why: str


async def read(client: Mapping[str, Any]) -> AsyncGenerator[Announced | Unreadable, None]:
    """Yield all announcements in the order of publication.

    Foreign records are skipped. Their number is in `ddor_publisher_foreign_records`, their addresses are in the log.
    """
    foreign = 0
    async with aclosing(read_committed(client, REPORT_READY)) as records:
        async for record in records:
            found = parse(record)
            if isinstance(found, Foreign):
                foreign += 1
                if foreign <= _LOGGED:
                    log_foreign(found.offset, found.why)
            else:
                yield found
    if foreign > _LOGGED:
        log.warning("foreign-records", topic=REPORT_READY, skipped=foreign, logged=_LOGGED)
    metrics.FOREIGN_RECORDS.labels(REPORT_READY).set(foreign)


def log_foreign(offset: int, why: str) -> None:
    """Log a record that is not an announcement."""
    log.warning("foreign-record", topic=REPORT_READY, partition=PARTITION.number, offset=offset, why=why)


def parse(record: Record) -> Announced | Unreadable | Foreign:
    """Parse one record. Pure; never raises, whatever bytes the record contains."""
    value = record.value
    document = _document(value)
    if not isinstance(document, dict):
        why = "has no value" if value is None else "is not a JSON object"
        return _unreadable(record, why) if _is_framed_as_ours(record) else Foreign(record.offset, why)
    event_type = document.get("type")
    if document.get("source") != _SOURCE or not isinstance(event_type, str) or event_type not in _MODELS:
        return Foreign(record.offset, f"is not a CloudEvent of {_SOURCE} that announces a report")
    try:
        event = _MODELS[event_type].model_validate_json(value or b"", strict=True, extra="ignore")
        return _announced(record, event)
    except ValidationError as error:
        return _unreadable(record, _first_problem(error))
    except _ContradictionError as error:
        return _unreadable(record, str(error))


class _ContradictionError(Exception):
    """Each field is well-formed, but the record as a whole is not valid."""


def _announced(record: Record, event: ReportReady | ReportFinal) -> Announced:
    data, final = event.data, isinstance(event, ReportFinal)
    if not 1 <= data.revision < _MOST_REVISIONS:
        raise _ContradictionError("data.revision: is not a valid revision number")
    if isinstance(event, ReportReady):
        _check_ready(event)
    known = data.model_dump(mode="json")
    if "\\u0000" in json.dumps(known):
        raise _ContradictionError("data: contains a NUL character, which PostgreSQL cannot store")
    try:
        published_at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise _ContradictionError("the record's timestamp is out of range") from None
    value = record.value or b""
    return Announced(data.week_start, data.revision, data.digest, known, published_at, final, record.offset, value)


def _check_ready(event: ReportReady) -> None:
    data = event.data
    if (data.week_end - data.week_start).days != 6:
        raise _ContradictionError("data.week_end: is not the last day of the week")
    if any(row.declined is None for row in data.top):
        raise _ContradictionError("data.top: contains a row without a number")
    numbers = [number for partitions in data.offsets.values() for number in partitions]
    if not all(re.fullmatch("[0-9]{1,5}", one) for one in numbers):
        raise _ContradictionError("data.offsets: contains an invalid partition number")
    if not all(0 <= offset < _MOST_OFFSETS for offset in Vector.from_json(data.offsets).values()):
        raise _ContradictionError("data.offsets: contains an invalid offset")


def _document(value: bytes | None) -> object:
    """The JSON of a value, or None."""
    try:
        return json.loads((value or b"").decode())
    except (ValueError, RecursionError):
        return None


def _is_framed_as_ours(record: Record) -> bool:
    """Whether key and headers are those of an announcement. A mirror, for example, may have altered its value."""
    names = {name for name, _ in record.headers}
    return bool(_WEEK.fullmatch(record.key or b"")) and {"id", "content-type"} <= names


def _unreadable(record: Record, why: str) -> Unreadable:
    return Unreadable(record.offset, why, hashlib.sha256(record.value or b"").hexdigest())


def _first_problem(error: ValidationError) -> str:
    """The field and the rule that it breaks. Unknown names come from the record and are replaced by `*`."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = [one if isinstance(one, str) and _FIELD.fullmatch(one) else "*" for one in problem["loc"]]
    return f"{'.'.join(path) or 'event'}: {problem['type'].replace('_', ' ')}"
