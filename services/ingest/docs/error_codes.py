"""All error codes of ingest, with meaning and remedy: the source of docs/errors.md.

`python -m services.ingest.docs.error_codes` writes the page, and `--check` compares it. A test collects the codes from
the source code and fails if one is missing here or is no longer used.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from services.runtime import generated

PAGE = Path(__file__).parents[3] / "docs" / "errors.md"

_NEW_EVENT = "Correct the event at its source and send it."


class Entry(NamedTuple):
    """One code. `where` lists `event`, HTTP statuses, or `stream` (the last line of a stream), separated by spaces."""

    code: str
    where: str
    meaning: str
    remedy: str = _NEW_EVENT


EVENT = "event"
STREAM = "stream"
_AGAIN = "Send it again after the number of seconds in `Retry-After`. Events never count twice."
_SMALLER = "Send `application/x-ndjson`, which has no limit, or smaller batches."
_SCOPE = "Send it with the key of the right agency, or ask the operator to check your scope."

ENTRIES: tuple[Entry, ...] = (
    Entry("a-number", EVENT, "A string or a member name has the form of an alien registration number: an A with "
          "seven to nine digits anywhere, with any separators (`A12345678`, `A12-345-678`, `2017A1234567`), or eight "
          "or nine digits alone. UUIDs are allowed.",
          "Remove personal identifiers. If it is a number of your own system, write it in another form."),
    Entry("bad-format", EVENT, "A string does not have the form that its field requires."),
    Entry("bad-timestamp", EVENT, "A date or date-time is not RFC 3339, names a day or an hour that does not exist, is "
          "a leap second (`23:59:60`), or is outside the years 1900 to 2199.",
          "Correct the event at its source and send it. Write second 59 for a leap second."),
    Entry("before-2000", EVENT, "`issued_at`, or an attested week, is before the year 2000. This is always a "
          "mistake."),
    Entry("control-character", EVENT, "A string or a member name contains a control character such as NUL."),
    Entry("duplicate-key", EVENT, "An object contains the same member twice, so its value is ambiguous."),
    Entry("in-the-future", EVENT, "The time that decides the week (`issued_at` of an issued, `recorded_at` of a "
          "declined detainer, the end of an attested week) is more than an hour ahead of the server's clock.",
          "Correct the clock or the time zone of the system that creates the events, then send a new event."),
    Entry("jurisdiction-not-allowed", EVENT, "The jurisdiction is not in the scope of this agency.", _SCOPE),
    Entry("kind-not-allowed", EVENT, "This agency may not send events of this kind.", _SCOPE),
    Entry("missing-field", EVENT, "A required field is absent."),
    Entry("naive-timestamp", EVENT, "A date-time has no offset from UTC.",
          "Write the offset, such as `Z` or `-05:00`. Ingest does not guess it, because it can decide the week."),
    Entry("no-value", EVENT, "The record has no value. Only the aggregator reports this, for a record that another "
          "producer wrote.", "See the runbook on rejected records."),
    Entry("not-a-week", EVENT, "`week_start` is not the first day of a reporting week.",
          "Send the date on which the week begins. The detail names the weekday."),
    Entry("not-a-number", EVENT, "A value is `NaN` or `Infinity`, which JSON does not allow."),
    Entry("not-acknowledged", f"{EVENT} 503", "Kafka did not acknowledge the event in time. With "
          "`Prefer: handling=strict`: it did not acknowledge every event of the batch. Events may still be stored.",
          "Send the same event or batch again, now or later. Events never count twice."),
    Entry("not-json", EVENT, "The event (in binary mode: its data) is not one JSON object (RFC 8259)."),
    Entry("not-utf8", EVENT, "The event is not UTF-8 text."),
    Entry("operator-misfit", EVENT, "The operator does not fit this kind of jurisdiction, such as a county for the "
          "code of a state."),
    Entry("order-of-instants", EVENT, "A detainer is declined before it was issued, or recorded before it was "
          "declined."),
    Entry("out-of-range", EVENT, "A number is too small or too large, or a list has too many entries."),
    Entry("source-not-allowed", EVENT, "`source` names a different agency than the key.", _SCOPE),
    Entry("subject-mismatch", EVENT, "`subject` differs from `data.detainer_id`, or from `data.week_start` of an "
          "attestation."),
    Entry("too-large", f"{EVENT} 413", "An event is larger than 16,384 bytes, or the body of a single event or a batch "
          "is larger than 1 MB after decompression.", f"A valid event is never that large. For a body: {_SMALLER}"),
    Entry("unexpected-field", EVENT, "An event that is not a withdrawal has `withdrawn_reason`, or an event of an "
          "agency has `redriveof`."),
    Entry("unknown-code", EVENT, "A code is not in its list, or a fixed value is wrong.",
          "Look up the code in the JSON Schema of the event, which contains all lists."),
    Entry("unknown-field", EVENT, "A member is not a field of this event, or an attribute is an extension other than "
          "`traceparent` and `tracestate`. Unknown fields might contain personal data, which is never stored.",
          "Correct the event at its source, or remove extensions that a pipeline added, and send it."),
    Entry("unknown-jurisdiction", EVENT, "The code is not in any edition of the registry of jurisdictions."),
    Entry("unknown-schema", EVENT, "`dataschema` is not the schema of the event's type: it names another type, another "
          "version or an unknown schema.",
          "Write `/schemas/`, the type and `/1`, such as `/schemas/detainer-issued/1`. It may begin with the address "
          "of a server."),
    Entry("unknown-type", EVENT, "`type` is not a known event type."),
    Entry("wrong-topic", EVENT, "The event is in the topic of another type. Only the aggregator reports this.",
          "See the runbook on rejected records."),
    Entry("wrong-type", EVENT, "A value has a different JSON type than its field requires. Values are not converted."),
    Entry("agencies-unknown", "503", "The agencies file cannot be read, so no key can be checked.", _AGAIN),
    Entry("bad-request", "400", "The request is not valid HTTP/1.1 (RFC 9110, RFC 9112), or its body was cut off. "
          "No event of a single request or a batch was stored. The response to a stream has the receipts of all stored "
          "events.", "Use an HTTP library, and check the proxies between client and server."),
    Entry("bad-compression", f"400 {STREAM}", "The body does not match its `Content-Encoding`, is cut off, or "
          "is followed by other data. Only further compressed data and, after gzip, zero bytes may follow.",
          "Compress the body again and send it."),
    Entry("batch-too-long", "413", "A batch has more than 1,000 events.", _SMALLER),
    Entry("batch-refused", "422", "With `Prefer: handling=strict`: at least one event of the batch is refused, so "
          "none is stored. `receipts` lists the refused events.",
          "Correct or remove these events and send the batch again."),
    Entry("duplicate-header", "400", "A single-value header, such as `Authorization`, `Content-Type` or "
          "`Content-Encoding`, is sent twice.",
          "Send it once, and check the proxies between client and server."),
    Entry("empty-body", "400", "The body is empty.", "Send an event."),
    Entry("expands-too-much", f"413 {STREAM}", "The body expands to more than 100 times its size.",
          "Send it uncompressed, or in smaller parts."),
    Entry("head-too-large", "431", "The request line with the headers, or the trailers, are larger than 65,536 bytes.",
          "Send fewer or shorter headers."),
    Entry("internal-error", "500", "An internal error occurred. The log of the service has the cause.",
          "Send it again. If the error persists, report the time to the operator."),
    Entry("kafka-unavailable", "503", "Kafka is unavailable, so events cannot be stored. The body was not read.",
          _AGAIN),
    Entry("method-not-allowed", "405", "The resource does not support the request method.",
          "`Allow` in the response lists the supported methods."),
    Entry("not-a-batch", "400", "The body of a batch is not a JSON array, or is nested too deeply. Nothing was "
          "stored.",
          "Send an array of events, or one event per line as `application/x-ndjson`."),
    Entry("not-acceptable", "406", "`Accept` does not allow JSON, or excludes it (`q=0`).",
          "Omit `Accept`, or allow `application/json` and `application/x-ndjson`."),
    Entry("not-found", "404", "No resource exists at this path.", "Look up the path in the OpenAPI document."),
    Entry("not-ready", "503", "The service is not ready. `detail` of `/readyz` names the dependency.",
          "Retry later, or see the runbook."),
    Entry("receipts-not-read", STREAM, "The receipt buffer is full. This client left 64 MB of receipts unread. Or all "
          "clients together left 128 MB unread, and this one more than 1 MB. Each receipt states the result of its "
          "event. The result of events without a receipt is unknown.",
          "Resend events that have no receipt; events never count twice. Read receipts while sending, or send at most "
          "10,000 lines in a request."),
    Entry("refused", "4xx", "The request is refused for a reason without its own code.",
          "See `status` and `detail`."),
    Entry("target-too-long", "414", "The request target (path and query) is longer than 8,192 bytes.",
          "Look up the path in the OpenAPI document."),
    Entry("too-many-connections", "503", "Too many connections are open: of all clients, of clients that have not sent "
          "a valid key yet, or of such clients at one address. No request was read.",
          "Send it again after the number of seconds in `Retry-After`. Use fewer connections, and reuse them."),
    Entry("too-many-events", f"429 {STREAM}", "The agency exceeds its rate of events a second. The body was not "
          "read; or a stream waited 300 seconds while other requests used up the rate.",
          "Resend events that have no receipt after the number of seconds in `Retry-After`. Events never count twice."),
    Entry("too-many-requests", "429 503", "Too many concurrent requests: 256 of the agency (429), or 512 of all "
          "agencies together (503). A zstd stream counts as eight. The body was not read.",
          "Send it again after the number of seconds in `Retry-After`, with fewer concurrent requests."),
    Entry("too-slow", f"408 {STREAM}", "The client was too slow. Limits: 10 seconds for the headers, 20 for the body "
          "of an event or a batch, 300 for the end of a line of a stream.",
          "Send it again. In an idle stream, send an empty line from time to time, or end the stream and start a new "
          "one."),
    Entry("unknown-key", f"401 {STREAM}", "The key is missing, unknown or expired, or its agency may not send now. "
          "A running stream ends with this error too. Nothing after its last receipt was stored.",
          "Send `Authorization: Bearer KEY`. If the key has expired or was revoked, ask the operator for a new one."),
    Entry("unsupported-transfer-coding", "501", "`Transfer-Encoding` is neither absent nor `chunked`.",
          "Compress with `Content-Encoding`. Send the body chunked or with `Content-Length`."),
    Entry("unsupported-version", "505", "The request uses a major version other than HTTP/1. `Upgrade: h2c` is "
          "ignored. HTTP/2 without it is refused.", "Use HTTP/1.1."),
    Entry("unsupported-encoding", "415", "`Content-Encoding` is not gzip, zstd or absent.", "Use one of these."),
    Entry("unsupported-media-type", "415", "`Content-Type` is not supported.",
          "Send `application/cloudevents+json`, `application/cloudevents-batch+json`, `application/x-ndjson`, or "
          "`application/json` with `ce-` headers (binary mode)."),
)  # fmt: skip

_INTRODUCTION = """\
<!-- Generated by python -m services.ingest.docs.error_codes: change the text there. -->
# Errors

Each refusal of ingest has a stable code and a detail. The detail states the rule and never quotes a value.

A whole request is refused with a problem (`application/problem+json`, RFC 9457). Its `type` is `/problems/CODE`, and
nothing of the request was stored. An event is refused with a receipt, `{"status": "rejected", "code": ..}`. The other
events of its batch or stream are not affected, unless the client requests all or nothing (`Prefer: handling=strict`).
A single event is refused with a problem of the same code. The last line of a stream is its summary or
`{"error": {"code": ..}}`. Without either, the response was cut off. After an error or a cut, resend the events that
have no receipt.

`rejected` is final for the same bytes. `unavailable` (`"retryable": true`) is temporary: send the event again.
"""


def page() -> str:
    """The text of docs/errors.md."""
    parts = [_INTRODUCTION]
    for title, wanted in (("Events", EVENT), ("Requests and streams", "")):
        parts.append(f"\n## {title}\n")
        parts += [_section(entry) for entry in ENTRIES if entry.where.startswith(EVENT) is bool(wanted)]
    return "".join(parts)


def _section(entry: Entry) -> str:
    return f"\n### {entry.code}\n\n*{_where(entry)}.* {entry.meaning} {entry.remedy}\n"


def _where(entry: Entry) -> str:
    if entry.where == EVENT:
        return "Receipt, or problem for a single event"
    parts = [f"problem {status}" for status in entry.where.split() if status not in (EVENT, STREAM)]
    if EVENT in entry.where:
        parts.insert(0, "receipt")
    if STREAM in entry.where:
        parts.append("last line of a stream")
    return ", ".join(parts).capitalize()


def main(arguments: Sequence[str]) -> int:
    """Write the page; with `--check`, return 1 if it is out of date."""
    return generated.main({PAGE: page()}, "python -m services.ingest.docs.error_codes", arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
