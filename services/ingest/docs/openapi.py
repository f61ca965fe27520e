"""The OpenAPI document of ingest. Schemas are generated from the models; a test runs the examples."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from schemas.attestation import WeekAttested
from schemas.detainer import DetainerDeclined, DetainerIssued
from services.ingest.body import batch, media_types
from services.ingest.receipts import Receipt, Summary
from services.runtime import openapi, request_id, trace_context
from services.runtime.openapi import Document, content, problem, reference

_DESCRIPTION = (
    "Agencies send events to this service. An event with the status 'accepted' is stored in Kafka, at the topic, "
    "partition and offset in its receipt. An event that is sent again never counts twice. See docs/errors.md for error "
    "codes."
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

_TOO_LARGE = "A body is larger than 1 MB, an event is larger than 16 kB, or a body expands too much."
_PROBLEMS: Document = {
    "400": problem("The body is malformed."),
    "401": problem("The key is missing, unknown or expired, or its agency may not send now."),
    "406": problem("The client does not accept JSON."),
    "408": problem("The body of an event or a batch did not arrive in time. The connection is closed."),
    "413": problem(_TOO_LARGE),
    "415": problem("Content-Type or Content-Encoding is not supported."),
    "422": problem("A single event, or an event of an all-or-nothing batch, breaks a rule. See `code`."),
    "429": problem("The agency exceeds its events a second or its concurrent requests.", retry=True),
    "503": problem(
        "Kafka or the agencies file is unavailable, or too many requests are open. Retry later.", retry=True
    ),
}


def document() -> Document:
    """Build the document from the models and the examples above."""
    events = openapi.models(DetainerIssued, DetainerDeclined, WeekAttested)
    _, results = msgspec.json.schema_components([Receipt, Summary], ref_template="#/components/schemas/{name}")
    for schema in results.values():
        schema.setdefault("required", []).sort()
    return openapi.document("Ingest", _DESCRIPTION, {"/v1/events": {"post": _post()}}, events | results)


def _post() -> Document:
    event = {"oneOf": [reference(name) for name in ("DetainerIssued", "DetainerDeclined", "WeekAttested")]}
    return {
        "summary": "Send one event, a batch, or a stream of lines.",
        "description": "A stream of lines has no length limit. Its receipts, one for each line, are sent while lines "
        "are still arriving, then the summary. Without a summary, the response was cut off: resend the events that "
        "have no receipt.",
        "tags": ["events"],
        "security": [{"key": []}],
        "parameters": [*_headers()],
        "requestBody": {"required": True, "content": _bodies(event)},
        "responses": {**_responses(), **_PROBLEMS},
    }


def _bodies(event: Document) -> Document:
    lines = "".join(json.dumps(one) + "\n" for one in (_EVENT, _CORRECTED, _REFUSED))
    many = {"type": "array", "items": event, "maxItems": batch.MAX_BATCH}
    data = {"type": "object", "description": "The data of an event. Its attributes are in `ce-` headers."}
    return {
        **content(
            media_types.SINGLE,
            event,
            examples={
                "issued": _example("A detainer was issued.", _EVENT, 202),
                "attested": _example("The agency's counts of a past week.", _ATTESTED, 202),
                "refused": _example("The jurisdiction does not exist.", _REFUSED, 422),
            },
        ),
        **content(
            media_types.BATCH,
            many,
            examples={
                "stored": _example("An event and its correction: the complete event with a higher version.",
                                   [_EVENT, _CORRECTED], 200),
                "mixed": _example("One event is refused, the other is stored.", [_EVENT, _REFUSED], 207),
            },
        ),
        **content(
            media_types.LINES, {"type": "string"}, examples={"lines": _example("One event per line.", lines, 207)}
        ),
        **content(
            media_types.BINARY,
            data,
            examples={"data": _example("Binary mode: attributes in headers, data in the body.", _DATA, 202)},
        ),
    }  # fmt: skip


def _example(summary: str, value: Any, status: int) -> Document:
    return {"summary": summary, "value": value, "x-status": status}


def _headers() -> list[Document]:
    encoding = {"type": "string", "enum": ["gzip", "zstd", "identity"]}
    return [
        {
            "name": "Prefer",
            "in": "header",
            "description": "`handling=strict` (RFC 7240): all events of a batch are stored, or none. NDJSON too.",
            "schema": {"type": "string"},
        },
        {"name": "Content-Encoding", "in": "header", "description": "Compression of the body.", "schema": encoding},
        {
            "name": request_id.HEADER,
            "in": "header",
            "description": f"An id for this request, in the form {request_id.PATTERN}. Otherwise ingest chooses one.",
            "schema": {"type": "string"},
        },
        *(
            {
                "name": name,
                "in": "header",
                "description": "W3C Trace Context of the request. Ignored if it is malformed, or if tracing is off.",
                "schema": {"type": "string"},
            }
            for name in (trace_context.PARENT, trace_context.STATE)
        ),
        *(
            {
                "name": f"ce-{name}",
                "in": "header",
                "description": f"Binary mode only: the attribute `{name}`.",
                "schema": {"type": "string"},
                "example": value,
            }
            for name, value in _ATTRIBUTES.items()
        ),
    ]


def _responses() -> Document:
    many = {
        "type": "object",
        "required": ["receipts", "summary"],
        "properties": {"receipts": {"type": "array", "items": reference("Receipt")}, "summary": reference("Summary")},
    }
    lines = {"type": "string", "description": 'One Receipt per line. The last line is `{"summary": Summary}`, or '
             '`{"error": {"code": .., "detail": ..}}` if the stream ended early.'}  # fmt: skip
    return {
        "200": {
            "description": "All events of the batch are stored.",
            "content": content("application/json", many),
        },
        "202": {"description": "The event is stored.", "content": content("application/json", reference("Receipt"))},
        "207": {
            "description": "One receipt for each event. Not all events of a batch are stored, or the body is a stream.",
            "content": content("application/json", many) | content(media_types.LINES, lines),
        },
    }
