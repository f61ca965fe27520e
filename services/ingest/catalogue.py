"""Every code that ingest can answer, what it means and what to do about it: the source of docs/errors.md.

`python -m services.ingest.catalogue` writes the page, with `--check` it says whether it is as it should be. A test
collects the codes from the source and fails when one is missing here or is no longer given.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"

_NEW_EVENT = "Correct the event where it is made, and send it."


class Entry(NamedTuple):
    """One code. `where` is `event` or the HTTP statuses of the request that it answers, or the end of a stream."""

    code: str
    where: str
    meaning: str
    remedy: str = _NEW_EVENT


EVENT = "event"
STREAM = "stream"
_AGAIN = "Send it again after the seconds that `Retry-After` names. What was stored already cannot count twice."
_SMALLER = "Send `application/x-ndjson`, which may be of any length, or smaller batches."
_SCOPE = "Send it with the key of the agency that it is for, or ask the operator whether your scope is right."

ENTRIES: tuple[Entry, ...] = (
    Entry("a-number", EVENT, "A string, or the name of a member, is shaped like an alien registration number: eight or "
          "nine digits alone, or with an A before them anywhere.",
          "Take personal identifiers out. If it is a number of yours, write it in another shape."),
    Entry("bad-format", EVENT, "A string does not have the form that its field requires."),
    Entry("bad-timestamp", EVENT, "A date or date-time is not RFC 3339, names a day or an hour that does not exist, or "
          "lies outside the years 1900 to 2199."),
    Entry("before-2000", EVENT, "`issued_at` is before the year 2000, which only a mistake can explain."),
    Entry("control-character", EVENT, "A string, or the name of a member, has a control character such as NUL."),
    Entry("duplicate-key", EVENT, "An object has one member twice, so that nobody can say which is meant."),
    Entry("in-the-future", EVENT, "The instant that counts (`issued_at` of an issued, `recorded_at` of a declined "
          "detainer, the end of an attested week) is more than an hour ahead of our clock.",
          "Set the clock or the time zone of the system that makes the events right, then send a new event."),
    Entry("jurisdiction-not-allowed", EVENT, "The jurisdiction is not in the scope of this agency.", _SCOPE),
    Entry("kind-not-allowed", EVENT, "This agency may not send events of this kind.", _SCOPE),
    Entry("missing-field", EVENT, "A required field is absent."),
    Entry("naive-timestamp", EVENT, "A date-time has no offset from UTC.",
          "Write the offset, such as `Z` or `-05:00`. Nobody may guess it: it can decide the week."),
    Entry("no-value", EVENT, "The record has no value. Only the aggregator meets this, in a record that did not come "
          "through ingest.", "See the runbook on rejected records."),
    Entry("not-a-week", EVENT, "`week_start` is not the first day of a reporting week.",
          "Send the date on which the week begins; the detail names the weekday."),
    Entry("not-a-number", EVENT, "`NaN` or `Infinity` stands where JSON allows none."),
    Entry("not-acknowledged", EVENT, "Kafka did not acknowledge the event in time. It may still be stored.",
          "Send the same event again, at once or later: it cannot count twice."),
    Entry("not-json", EVENT, "The event, or the data of one in binary mode, is not one JSON object (RFC 8259)."),
    Entry("not-utf8", EVENT, "The event is not UTF-8 text."),
    Entry("operator-misfit", EVENT, "The operator cannot answer for this kind of jurisdiction: a county for a state's "
          "code, for instance."),
    Entry("order-of-instants", EVENT, "A detainer is declined before it was issued, or recorded before it was "
          "declined."),
    Entry("out-of-range", EVENT, "A number is too small or too large, or a list has too many entries."),
    Entry("source-not-allowed", EVENT, "`source` names another agency than the one that the key belongs to.", _SCOPE),
    Entry("subject-mismatch", EVENT, "`subject` is not the same as `data.detainer_id`, or `data.week_start` of an "
          "attestation."),
    Entry("too-large", f"{EVENT} 413", "An event has more than 16,384 bytes, or the body of a single event or a batch "
          "more than 1 MB, decompressed.", f"No event need be so long. For a body: {_SMALLER}"),
    Entry("unexpected-field", EVENT, "`withdrawn_reason` stands in an event that withdraws nothing."),
    Entry("unknown-code", EVENT, "A code is not in its list, or a fixed value is another.",
          "Look the code up in the JSON Schema of the event, which has all lists."),
    Entry("unknown-field", EVENT, "A member is not a field of this event. It is named because it might hold personal "
          "data, which is never stored."),
    Entry("unknown-jurisdiction", EVENT, "The code is in no edition of the registry of jurisdictions."),
    Entry("unknown-type", EVENT, "`type` is not one of the types of events."),
    Entry("wrong-topic", EVENT, "The event is in the topic of another type. Only the aggregator meets this.",
          "See the runbook on rejected records."),
    Entry("wrong-type", EVENT, "A value is of another JSON type than its field requires; nothing is converted."),
    Entry("agencies-unknown", "503", "The file of agencies cannot be read, so nobody can be recognised.", _AGAIN),
    Entry("bad-request", "400", "What came is not HTTP/1.1.", "Use an HTTP library; look at what stands between."),
    Entry("bad-compression", f"400 {STREAM}", "The body is not what `Content-Encoding` says, or is cut off.",
          "Compress the body anew and send it again."),
    Entry("batch-too-long", "413", "A batch has more than 1,000 events.", _SMALLER),
    Entry("empty-body", "400", "The body is empty.", "Send an event."),
    Entry("expands-too-much", f"413 {STREAM}", "The body expands to more than a hundred times its size.",
          "Send it uncompressed, or in smaller parts."),
    Entry("head-too-large", "431", "The headers have more than 65,536 bytes.", "Send fewer or shorter headers."),
    Entry("internal-error", "500", "The service failed on this request; its log says why.",
          "Send it again. If it stays so, tell the operator when it happened."),
    Entry("kafka-unavailable", "503", "Events cannot be stored now. Nothing of the body was read.", _AGAIN),
    Entry("method-not-allowed", "405", "The address is asked with a method that it does not have.",
          "`Allow` in the answer names those that it has."),
    Entry("not-a-batch", "400", "The body of a batch is not a JSON array, is an empty one, or is nested deeper than "
          "can be read. Nothing was stored.",
          "Send an array of events, or each event on a line of its own as `application/x-ndjson`."),
    Entry("not-acceptable", "406", "`Accept` asks for another answer than JSON.",
          "Leave `Accept` out, or allow `application/json` and `application/x-ndjson`."),
    Entry("not-found", "404", "There is nothing at this address.", "Look the address up in the OpenAPI document."),
    Entry("not-ready", "503", "`/readyz` says what the service waits for.", "Ask again; see the runbook."),
    Entry("receipts-not-read", STREAM, "The client left 64 MB of receipts unread; or all clients together left 128 MB, "
          "and this one more than 1 MB: the others may be the cause. Each receipt says what became of its event; of "
          "what came later nothing can be said.",
          "Send again what has no receipt: it cannot count twice. Read receipts while you send, or send at most 10,000 "
          "lines a request."),
    Entry("refused", "4xx", "The request is refused for a reason that has no code of its own.",
          "`status` and `detail` say more."),
    Entry("too-many-events", f"429 {STREAM}", "The agency sends more events a second than it may. Nothing of the body "
          "was read; or a stream was held back for 300 seconds while other requests used the rate up.",
          "Send again, after the seconds that `Retry-After` names, what has no receipt. It cannot count twice."),
    Entry("too-many-requests", "429 503", "Too many requests are open at once: 256 of the agency (429), or 512 of all "
          "agencies together (503); a stream in zstd counts as eight. Nothing of the body was read.",
          "Send it again after the seconds that `Retry-After` names, over fewer connections at once."),
    Entry("too-slow", f"408 {STREAM}", "The client kept us waiting: 10 seconds for the headers, 20 for the body of an "
          "event or a batch, 300 for the end of a line of a stream.",
          "Send it again. A stream that has nothing to say sends an empty line now and then, or ends and begins anew."),
    Entry("unknown-key", f"401 {STREAM}", "There is no key, an unknown or expired one, or one whose agency may not "
          "send now. A stream that has begun ends by it too; of what came behind its last receipt nothing was stored.",
          "Send `Authorization: Bearer KEY`; ask the operator for a new key if it has expired or was revoked."),
    Entry("unsupported-encoding", "415", "`Content-Encoding` is not gzip, zstd or absent.", "Use one of these."),
    Entry("unsupported-media-type", "415", "`Content-Type` is not one that ingest reads.",
          "Send `application/cloudevents+json`, `application/cloudevents-batch+json`, `application/x-ndjson`, or "
          "`application/json` with `ce-` headers (binary mode)."),
)  # fmt: skip

_INTRODUCTION = """\
<!-- Written by python -m services.ingest.catalogue: change the text there. -->
# Errors

What ingest refuses has a code that stays the same, and a detail that says what must be so and never quotes a value.

A whole request is refused with a problem (`application/problem+json`, RFC 9457); its `type` is `/problems/CODE`, and
nothing of the request was stored. An event is refused with a receipt, `{"status": "rejected", "code": ..}`, and the
others of its batch or stream go on; an event that comes alone is answered with a problem of the same code. The last
line of a stream is its summary or `{"error": {"code": ..}}`; without either the answer was cut off. Resend from the
last receipt in both cases.

`rejected` stays so however often the same bytes are sent; `unavailable` (`"retryable": true`) is to be sent again.
"""


def page() -> str:
    """The text of docs/errors.md."""
    parts = [_INTRODUCTION]
    for title, wanted in (("Of an event", EVENT), ("Of a request or a stream", "")):
        parts.append(f"\n## {title}\n")
        parts += [_section(entry) for entry in ENTRIES if entry.where.startswith(EVENT) is bool(wanted)]
    return "".join(parts)


def _section(entry: Entry) -> str:
    return f"\n### {entry.code}\n\n*{_where(entry)}.* {entry.meaning} {entry.remedy}\n"


def _where(entry: Entry) -> str:
    if entry.where == EVENT:
        return "Receipt, or a problem of an event alone"
    said = [f"problem {status}" for status in entry.where.split() if status not in (EVENT, STREAM)]
    if EVENT in entry.where:
        said.insert(0, "receipt")
    if STREAM in entry.where:
        said.append("last line of a stream")
    return ", ".join(said).capitalize()


def main(arguments: Sequence[str]) -> int:
    """Write the page; with `--check` answer 1 when it is not as it should be."""
    if "--check" not in arguments:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    sys.stderr.write(f"{PAGE.name} is not up to date: run python -m services.ingest.catalogue\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
