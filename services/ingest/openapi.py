"""The OpenAPI document of ingest. Schemas come from what reads and writes; the examples are run by a test."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from schemas.attestation import WeekAttested
from schemas.detainer import DetainerDeclined, DetainerIssued
from services.ingest import framing
from services.ingest.receipts import Receipt, Summary
from services.runtime import openapi
from services.runtime.openapi import Document, content, problem, reference

_DESCRIPTION = (
    "Agencies send events here. An event that is answered 'accepted' is in the log, at the place that its receipt "
    "names. Sending an event again never counts twice. Codes are explained in docs/errors.md."
)
_DATA: Document = {
    "detainer_id": "3f0c1d2e-6a7b-4c8d-9e0f-1a2b3c4d5e6f",
    "version": 1,
    "jurisdiction": "32003",
    "operator": "county",
    "issued_at": "2017-01-30T09:15:00-08:00",
    "form": "I-247D",
    "citizenship": "MEX",
    "offenses": [{"category": "90D", "basis": "charged"}],
}
_ATTRIBUTES: dict[str, str] = {
    "specversion": "1.0",
    "id": "2017-01-30/1",
    "source": "/agencies/ice-las-vegas",
    "type": "detainer-issued",
    "subject": "3f0c1d2e-6a7b-4c8d-9e0f-1a2b3c4d5e6f",
    "time": "2017-01-30T17:20:00Z",
    "dataschema": "/schemas/detainer-issued/1",
}
_EVENT: Document = {**_ATTRIBUTES, "datacontenttype": "application/json", "data": _DATA}
_CORRECTED: Document = {**_EVENT, "id": "2017-01-31/1", "data": {**_DATA, "version": 2, "citizenship": "GTM"}}
_ATTESTED: Document = {
    **_EVENT,
    "id": "2017-01-21/attested/1",
    "type": "week-attested",
    "subject": "2017-01-21",
    "dataschema": "/schemas/week-attested/1",
    "data": {"week_start": "2017-01-21", "version": 1, "counts": {"issued": 118, "declined": 51}},
}
_REFUSED: Document = {**_EVENT, "id": "2017-01-31/2", "data": {**_DATA, "jurisdiction": "32999"}}

_TOO_LARGE = "A body is more than 1 MB, an event more than 16 kB, or what it expands to is too much."
_PROBLEMS: Document = {
    "400": problem("The body cannot be taken apart."),
    "401": problem("No key of an agency that may send now."),
    "406": problem("Answers are JSON."),
    "408": problem("The body of an event or a batch did not come in time; the connection is closed."),
    "413": problem(_TOO_LARGE),
    "415": problem("Content-Type or Content-Encoding is not one of those listed."),
    "422": problem("An event that comes alone breaks a rule; `code` and `detail` say which."),
    "429": problem("More events a second, or more requests at once, than this agency may send.", retry=True),
    "503": problem("Kafka or the agencies file is away, or too many requests are open. Send it again.", retry=True),
}


def document() -> Document:
    """The document, from the models and the examples above."""
    events = openapi.models(DetainerIssued, DetainerDeclined, WeekAttested)
    _, answers = msgspec.json.schema_components([Receipt, Summary], ref_template="#/components/schemas/{name}")
    for schema in answers.values():
        schema.setdefault("required", []).sort()
    return openapi.document("Ingest", _DESCRIPTION, {"/v1/events": {"post": _post()}}, events | answers)


def _post() -> Document:
    event = {"oneOf": [reference(name) for name in ("DetainerIssued", "DetainerDeclined", "WeekAttested")]}
    return {
        "summary": "Send one event, a batch, or lines without end.",
        "description": "Lines are answered while they still come: a receipt a line, then the summary. Without a "
        "summary the answer was cut off: send what has no receipt again.",
        "tags": ["events"],
        "security": [{"key": []}],
        "parameters": [*_headers()],
        "requestBody": {"required": True, "content": _bodies(event)},
        "responses": {**_answers(), **_PROBLEMS},
    }


def _bodies(event: Document) -> Document:
    lines = "".join(json.dumps(one) + "\n" for one in (_EVENT, _CORRECTED, _REFUSED))
    batch = {"type": "array", "items": event, "minItems": 1, "maxItems": framing.MAX_BATCH}
    data = {"type": "object", "description": "The data of an event whose attributes are in `ce-` headers."}
    return {
        **content(
            framing.SINGLE,
            event,
            examples={
                "issued": _example("A detainer was issued.", _EVENT, 202),
                "attested": _example("What the agency counted of a week that is over.", _ATTESTED, 202),
                "refused": _example("The jurisdiction does not exist.", _REFUSED, 422),
            },
        ),
        **content(
            framing.BATCH,
            batch,
            examples={
                "stored": _example("An event and its correction: the whole again, with a higher version.",
                                   [_EVENT, _CORRECTED], 200),
                "mixed": _example("One of two is refused; the other is stored.", [_EVENT, _REFUSED], 207),
            },
        ),
        **content(framing.LINES, {"type": "string"}, examples={"lines": _example("An event a line.", lines, 207)}),
        **content(
            framing.BINARY,
            data,
            examples={"data": _example("Binary mode: attributes in headers, the data alone in the body.", _DATA, 202)},
        ),
    }  # fmt: skip


def _example(summary: str, value: Any, status: int) -> Document:
    return {"summary": summary, "value": value, "x-status": status}


def _headers() -> list[Document]:
    encoding = {"type": "string", "enum": ["gzip", "zstd", "identity"]}
    return [
        {"name": "Content-Encoding", "in": "header", "description": "How the body is compressed.", "schema": encoding},
        *(
            {
                "name": f"ce-{name}",
                "in": "header",
                "description": f"Binary mode only: the attribute {name}.",
                "schema": {"type": "string"},
                "example": value,
            }
            for name, value in _ATTRIBUTES.items()
        ),
    ]


def _answers() -> Document:
    many = {
        "type": "object",
        "required": ["receipts", "summary"],
        "properties": {"receipts": {"type": "array", "items": reference("Receipt")}, "summary": reference("Summary")},
    }
    lines = {"type": "string", "description": 'A Receipt a line; the last line is `{"summary": Summary}`, or '
             '`{"error": {"code": .., "detail": ..}}` when it ended before the body did.'}  # fmt: skip
    return {
        "200": {"description": "All events of a batch are stored.", "content": content("application/json", many)},
        "202": {"description": "The event is stored.", "content": content("application/json", reference("Receipt"))},
        "207": {
            "description": "Each event has its receipt: not all of a batch are stored, or the body was lines.",
            "content": content("application/json", many) | content(framing.LINES, lines),
        },
    }
