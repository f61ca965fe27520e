"""The one acceptance function: what is an event, and what is not.

Ingest and aggregator both call it: `accept_any`, or `accept` where only detainers are meant. It looks at the record's
bytes and at nothing else, no clock and no settings, so the same bytes are accepted or refused for the same reason today
and in ten years, as long as `RULES_VERSION`, the registry and the code lists are the same.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.attestation import Attestation, WeekAttested, attestation
from schemas.detainer import DeclinedData, DetainerDeclined, DetainerIssued, Kind
from schemas.envelope import INSTANT_PATTERN, UUID_PATTERN
from schemas.fact import Fact, normal
from schemas.instant import microseconds

RULES_VERSION: Final = 1
MAX_EVENT_BYTES: Final = 16_384
"""An event is about 600 bytes; the longest that the rules allow is well below this."""

_Model = DetainerIssued | DetainerDeclined | WeekAttested
_MODELS: Final[dict[str, type[_Model]]] = {
    "detainer-issued": DetainerIssued,
    "detainer-declined": DetainerDeclined,
    "week-attested": WeekAttested,
}
_PYDANTIC_CODES: Final = {
    "missing": ("missing-field", "is required"),
    "extra_forbidden": ("unknown-field", "is not a field of this event"),
    "string_pattern_mismatch": ("bad-format", "does not have the required form"),
    "literal_error": ("unknown-code", "is not one of the allowed values"),
    "greater_than_equal": ("out-of-range", "is below the lowest allowed value"),
    "less_than_equal": ("out-of-range", "is above the highest allowed value"),
    "too_long": ("out-of-range", "has too many entries"),
    "int_from_float": ("wrong-type", "must be an integer"),
}
_WELL_FORMED: Final = {
    "missing-field", "unexpected-field", "unknown-jurisdiction", "operator-misfit", "order-of-instants",
    "subject-mismatch",
}  # fmt: skip
"""Rules that are broken by what is absent, or by values of which each has the form of its field."""
A_NUMBER = re.compile(
    r"\A[0-9]{8,9}\Z|(?<![0-9A-Za-z])A([0-9]{8,9}|[0-9]{3}-[0-9]{3}-[0-9]{3})(?![0-9A-Za-z])", re.IGNORECASE
)
_SHAPED = re.compile(f"{UUID_PATTERN}|{INSTANT_PATTERN}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_DEPTH = 32
_SAFE_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,39}$")


class Refused(Exception):  # noqa: N818  # the word of the contract: refused, with a code
    """An event that does not keep the rules.

    `code` names the rule, `field` the place (a dotted path, or None), `detail` says what must be so. None of them ever
    quotes a value. `impersonal`: all that the event holds is a known field whose value has its form, a code, a number,
    an identifier or an instant, so that nothing personal can be in it. Whatever was not read to its end is not.
    """

    def __init__(self, code: str, field: str | None, detail: str, *, impersonal: bool = False) -> None:
        super().__init__(f"{field or 'event'}: {detail}")
        self.code = code
        self.field = field
        self.detail = detail
        self.impersonal = impersonal


def accept(value: bytes | None, topic: str | None = None) -> Fact:
    """Read one detainer event; Refused when it breaks a rule, or is of another type.

    `topic` is the Kafka topic that the event came from; its type must be of the same name. None accepts either type.
    """
    event = _read(value, topic)
    if isinstance(event, WeekAttested):
        raise Refused("wrong-topic", "type", "must be a detainer event in this topic")
    return _fact(event)


def accept_any(value: bytes | None, topic: str | None = None) -> Fact | Attestation:
    """Read one event of any type; as `accept` else."""
    event = _read(value, topic)
    return attestation(event) if isinstance(event, WeekAttested) else _fact(event)


def _read(value: bytes | None, topic: str | None) -> _Model:
    document = _parse(value)
    _no_person_in(document, "")
    event_type = document.get("type")
    if "type" not in document:
        raise Refused("missing-field", "type", "is required")
    if not isinstance(event_type, str) or event_type not in _MODELS:
        raise Refused("unknown-type", "type", f"must be one of {', '.join(_MODELS)}")
    if topic is not None and event_type != topic:
        raise Refused("wrong-topic", "type", f"must be {topic} in this topic")
    try:
        return _MODELS[event_type].model_validate(document)
    except ValidationError as error:
        _refuse(error)


def _parse(value: bytes | None) -> dict[str, Any]:
    if value is None:
        raise Refused("no-value", None, "the record has no value")
    if len(value) > MAX_EVENT_BYTES:
        raise Refused("too-large", None, f"an event has at most {MAX_EVENT_BYTES} bytes")
    try:
        document = json.loads(value.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_not_a_number)
    except UnicodeDecodeError:
        raise Refused("not-utf8", None, "an event is UTF-8 text") from None
    except (ValueError, RecursionError):
        raise Refused("not-json", None, "an event is one JSON object (RFC 8259)") from None
    if not isinstance(document, dict):
        raise Refused("not-json", None, "an event is one JSON object (RFC 8259)")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise Refused("duplicate-key", _shown(name), "appears twice in one object")
    return members


def _not_a_number(_: str) -> NoReturn:
    raise Refused("not-a-number", None, "NaN and Infinity are not JSON")


def _no_person_in(value: object, path: str, depth: int = 0) -> None:
    """Refuse control characters and alien registration numbers in any string, names of members included.

    Eight or nine digits alone are refused where they are the whole string; inside a longer one they may be a date.
    No event is deeper than four; how deep an interpreter can go must not decide what is accepted.
    """
    if depth > _MAX_DEPTH:
        raise Refused("not-json", None, "an event is one JSON object (RFC 8259)")
    if isinstance(value, dict):
        for name, member in value.items():
            _no_person_in(name, path, depth)
            _no_person_in(member, f"{path}.{_shown(name)}" if path else _shown(name), depth + 1)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            _no_person_in(member, f"{path}.{index}", depth + 1)
    elif isinstance(value, str):
        if _CONTROL.search(value):
            raise Refused("control-character", path or None, "has a control character")
        if A_NUMBER.search(value) and not _SHAPED.match(value):
            raise Refused("a-number", path or None, "is shaped like an alien registration number")


def _shown(name: str) -> str:
    """A member's name if it can be shown: it comes from outside and may hold anything."""
    return name if _SAFE_NAME.fullmatch(name) and not A_NUMBER.search(name) else f"(a name of {len(name)} characters)"


def _refuse(error: ValidationError) -> NoReturn:
    """By the first problem; a field that should not be there comes before all, for it may hold personal data."""
    problems = error.errors(include_url=False, include_input=False)
    first = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    path = [_shown(part) if isinstance(part, str) else str(part) for part in first["loc"]]
    context = first.get("ctx", {})
    if "field" in context:
        path.append(context["field"])
    code, detail = _said(first)
    more = len(problems) - 1
    raise Refused(
        code,
        ".".join(path) or None,
        f"{detail} (and {more} more)" if more else detail,
        impersonal=all(_said(one)[0] in _WELL_FORMED for one in problems),
    )


def _said(problem: ErrorDetails) -> tuple[str, str]:
    """Code and detail of one problem that pydantic found."""
    code, detail = _PYDANTIC_CODES.get(problem["type"], (problem["type"], problem["msg"]))
    return ("wrong-type", "is not of the required type") if "_" in code else (code, detail)


def _fact(event: DetainerIssued | DetainerDeclined) -> Fact:
    data = event.data
    declined = data if isinstance(data, DeclinedData) else None
    return Fact(
        kind=Kind.DECLINED if declined else Kind.ISSUED,
        agency=event.agency,
        detainer_id=data.detainer_id,
        version=data.version,
        withdrawn=data.withdrawn,
        withdrawn_reason=data.withdrawn_reason,
        jurisdiction=data.jurisdiction,
        operator=data.operator,
        location=data.location,
        facility=data.facility,
        issued_us=microseconds(data.issued_at),
        declined_us=microseconds(declined.declined_at) if declined else None,
        recorded_us=microseconds(declined.recorded_at) if declined else None,
        form=data.form,
        reason=declined.reason if declined else None,
        citizenship=data.citizenship,
        offenses=None if data.offenses is None else normal((one.category, one.basis) for one in data.offenses),
    )
