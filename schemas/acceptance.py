"""The acceptance rules: validates the bytes of an event and returns its fact.

Ingest and the aggregator call the same function: `accept_any`, or `accept` for detainer events only. The result depends
only on the bytes, never on a clock or on settings. As long as `RULES_VERSION`, the registry and the code lists stay the
same, the same bytes are accepted, or refused with the same code.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn

import msgspec
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.a_number import has_a_number
from schemas.attestation import Attestation, WeekAttested, attestation
from schemas.detainer import MAX_VERSION, DeclinedData, DetainerDeclined, DetainerIssued, Kind
from schemas.envelope import ATTRIBUTE_PATTERN, SCHEMA_VERSION
from schemas.fact import Fact, normalize
from schemas.instant import microseconds

RULES_VERSION: Final = 2
MAX_EVENT_BYTES: Final = 16_384
"""A typical event has about 600 bytes. The longest valid event is well below this limit."""

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
    "string_too_long": ("out-of-range", "is too long"),
    "int_from_float": ("wrong-type", "must be an integer"),
}
_WELL_FORMED: Final = {
    "missing-field", "unexpected-field", "unknown-jurisdiction", "operator-misfit", "order-of-instants",
    "subject-mismatch",
}  # fmt: skip
"""Rules that an event can break although each of its values has the form of its field."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SERVER = re.compile(r"https?://(?!.*/schemas/)[^?#]+", re.IGNORECASE)
_MAX_DEPTH = 32
_attribute = re.compile(ATTRIBUTE_PATTERN).fullmatch
_SAFE_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,39}$")


class Refused(Exception):  # noqa: N818  # the term of the public contract
    """An event that breaks an acceptance rule.

    `code` names the rule, `field` is a dotted path or None, and `detail` states the requirement. None of them quotes a
    value. `impersonal` is true if the event cannot contain personal data: all fields are known, and each value is a
    well-formed code, number, identifier or instant. It is false for events that were not validated completely.
    """

    def __init__(self, code: str, field: str | None, detail: str, *, impersonal: bool = False) -> None:
        super().__init__(f"{field or 'event'}: {detail}")
        self.code = code
        self.field = field
        self.detail = detail
        self.impersonal = impersonal


def accept(value: bytes | None, topic: str | None = None) -> Fact:
    """Validate one detainer event. Raises Refused if it breaks a rule or has another type.

    `topic` is the event's Kafka topic, which must equal its type. None accepts both detainer types.
    """
    event = _read(value, topic)
    if isinstance(event, WeekAttested):
        raise Refused("wrong-topic", "type", "must be a detainer event in this topic")
    return _fact(event)


def accept_any(value: bytes | None, topic: str | None = None) -> Fact | Attestation:
    """Validate one event of any type, otherwise like `accept`. Raises Refused."""
    return _content(_read(value, topic))


class AcceptedEvent(msgspec.Struct, frozen=True, gc=False):
    """The content of an accepted event, with the attributes of its envelope that ingest needs."""

    content: Fact | Attestation
    id: str
    dataschema: str
    redriveof: str | None


def accept_event(value: bytes | None) -> AcceptedEvent:
    """Validate one event of any type and return it with its envelope. Raises Refused."""
    event = _read(value, None)
    return AcceptedEvent(_content(event), event.id, event.dataschema, event.redriveof)


def _read(value: bytes | None, topic: str | None) -> _Model:
    document = _parse(value)
    _no_person_in(document, "")
    event_type = document.get("type")
    if event_type is None:
        raise Refused("missing-field", "type", "is required")
    if not isinstance(event_type, str) or event_type not in _MODELS:
        raise Refused("unknown-type", "type", f"must be one of {', '.join(_MODELS)}")
    if topic is not None and event_type != topic:
        raise Refused("wrong-topic", "type", f"must be {topic} in this topic")
    model = _MODELS[event_type]
    given = {name: member for name, member in document.items() if not _is_unset(name, member)}
    try:
        event = model.model_validate(given)
    except ValidationError as error:
        known = "tracestate" not in given and document.keys() - given.keys() <= model.model_fields.keys()
        _refuse(error, known=known)
    if not names_no_other_schema(event.dataschema, event_type):
        raise Refused("unknown-schema", "dataschema", f"must be {schema_of(event_type)}")
    return event


def names_only_fields(value: bytes) -> bool:
    """Whether it is a valid event without tracestate and without null attributes of unknown names.

    Those names and that text may contain anything, including personal data.
    """
    try:
        accept_any(value)
    except Refused:
        return False
    document = json.loads(value)
    return "tracestate" not in document and document.keys() <= _MODELS[document["type"]].model_fields.keys()


def schema_of(event_type: str) -> str:
    """The `dataschema` of events of this type: the `$id` of its JSON Schema."""
    return f"/schemas/{event_type}/{SCHEMA_VERSION}"


def names_no_other_schema(address: str, event_type: str) -> bool:
    """Whether this `dataschema` does not name another schema of this project.

    A later version, or the schema of another type, has other rules. Foreign addresses are accepted: old logs contain
    such events, because ingest did not always require our schema.
    """
    return "/schemas/" not in address or is_schema(address, event_type)


def is_schema(address: str, event_type: str) -> bool:
    """Whether the address is the schema of this type, with or without a server in front."""
    ours = schema_of(event_type)
    return address == ours or (address.endswith(ours) and _SERVER.fullmatch(address.removesuffix(ours)) is not None)


def _parse(value: bytes | None) -> dict[str, Any]:
    if value is None:
        raise Refused("no-value", None, "the record has no value")
    if len(value) > MAX_EVENT_BYTES:
        raise Refused("too-large", None, f"an event has at most {MAX_EVENT_BYTES} bytes")
    try:
        document = json.loads(
            value.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_not_a_number, parse_float=_number
        )
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


def _number(text: str) -> int | float:
    """Parse a number with a fraction or an exponent. Integral values become int, as in JSON Schema (`2.0`, `1e3`).

    The test is exact: 4503599627370497.5 is not an integer, although its `float` is.
    """
    number = float(text)
    if not number.is_integer() or abs(number) > MAX_VERSION:
        return number
    try:
        exact = Decimal(text)
    except InvalidOperation:  # the exponent is out of range
        return number
    return int(number) if exact == int(number) else number


def _is_unset(name: str, member: object) -> bool:
    """Whether the member is a null attribute, which counts as absent (CloudEvents JSON format, section 2.2)."""
    return member is None and name != "data" and _attribute(name) is not None


def _no_person_in(value: object, path: str, depth: int = 0) -> None:
    """Refuse control characters and alien registration numbers in any string and any member's name.

    The fixed depth limit makes the result independent of the interpreter's recursion limit. Valid events have depth 4.
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
        if has_a_number(value):
            raise Refused("a-number", path or None, "is shaped like an alien registration number")


def _shown(name: str) -> str:
    """A member's name if it is safe to show, otherwise a placeholder: a name from outside may contain anything."""
    return name if _SAFE_NAME.fullmatch(name) and not has_a_number(name) else f"(a name of {len(name)} characters)"


def _refuse(error: ValidationError, *, known: bool) -> NoReturn:
    """Raise Refused for the first problem. Unknown fields take precedence, because they may contain personal data.

    `known`: the event has only known fields and no opaque text.
    """
    problems = error.errors(include_url=False, include_input=False)
    first = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    path = [_shown(part) if isinstance(part, str) else str(part) for part in first["loc"]]
    context = first.get("ctx", {})
    if "field" in context:
        path.append(context["field"])
    code, detail = _code_and_detail(first)
    more = len(problems) - 1
    raise Refused(
        code,
        ".".join(path) or None,
        f"{detail} (and {more} more)" if more else detail,
        impersonal=known and all(_code_and_detail(one)[0] in _WELL_FORMED for one in problems),
    )


def _code_and_detail(problem: ErrorDetails) -> tuple[str, str]:
    """Code and detail of one validation error of pydantic."""
    code, detail = _PYDANTIC_CODES.get(problem["type"], (problem["type"], problem["msg"]))
    return ("wrong-type", "is not of the required type") if "_" in code else (code, detail)


def _content(event: _Model) -> Fact | Attestation:
    return attestation(event) if isinstance(event, WeekAttested) else _fact(event)


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
        offenses=None if data.offenses is None else normalize((one.category, one.basis) for one in data.offenses),
    )
