"""What ingest answers to bad input, over real HTTP: the right problem, the right receipt, and nothing on the log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.parts import KafkaPart
from deploy.local.service import Service
from tests.support import events, kafka_log, processes
from tests.support.agencies import EXPIRED, NEW_YORK, key_of, write_agencies
from tests.support.processes import BATCH, SINGLE, post


@pytest.fixture(scope="module")
def ingest(kafka: KafkaPart, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    state = tmp_path_factory.mktemp("ingest")
    agencies = write_agencies(state / "agencies.toml")
    one = processes.service("ingest", state, _variables(kafka, agencies))
    one.start()
    try:
        yield one
    finally:
        assert one.stop(), "SIGTERM ended it"


def _variables(kafka: KafkaPart, agencies: Path) -> dict[str, str]:
    return {"DDOR_KAFKA_BOOTSTRAP": kafka.bootstrap, "DDOR_AGENCIES_FILE": str(agencies)}


@pytest.fixture
async def http(ingest: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with processes.client(ingest) as client:
        yield client


def _data(**changes: Any) -> bytes:
    return events.encoded(events.envelope("issued", events.issued(1, **changes)))


def _envelope(**changes: Any) -> bytes:
    return events.encoded(events.envelope("issued", events.issued(1), **changes))


def _text(old: str, new: str) -> bytes:
    """A valid event's text with one piece replaced by what no encoder writes."""
    value = _data(form="I-247D").decode()
    assert old in value
    return value.replace(old, new).encode()


GOOD = _data()
# What is wrong: the event, the status when it comes alone, the code, the place that the answer names.
REFUSED = {
    "naive timestamp": (_data(issued_at="2017-01-30T12:00:00"), 422, "naive-timestamp", "data.issued_at"),
    "naive envelope time": (_envelope(time="2017-01-30T12:00:00"), 422, "naive-timestamp", "time"),
    "no timestamp": (_data(issued_at="last Monday"), 422, "bad-timestamp", "data.issued_at"),
    "a day that is not": (_data(issued_at="2017-02-30T12:00:00Z"), 422, "bad-timestamp", "data.issued_at"),
    "unknown jurisdiction": (_data(jurisdiction="32999"), 422, "unknown-jurisdiction", "data.jurisdiction"),
    "a state's code for a county": (_data(jurisdiction="32"), 422, "operator-misfit", "data.operator"),
    "federal custody of a county": (_data(operator="federal"), 422, "operator-misfit", "data.operator"),
    "version 0": (_data(version=0), 422, "out-of-range", "data.version"),
    "version 2^53": (_data(version=2**53), 422, "out-of-range", "data.version"),
    "version as text": (_data(version="1"), 422, "wrong-type", "data.version"),
    "version 1.0": (_text('"version":1', '"version":1.0'), 422, "wrong-type", "data.version"),
    "A-number": (_data(facility="A123456789"), 422, "a-number", "data.facility"),
    "A-number of eight": (_data(facility="A12345678"), 422, "a-number", "data.facility"),
    "A-number without A": (_data(facility="12345678"), 422, "a-number", "data.facility"),
    "A-number with hyphens": (_data(facility="A123-456-789"), 422, "a-number", "data.facility"),
    "A-number as event id": (_envelope(id="a123456789"), 422, "a-number", "id"),
    "A-number as a name": (_envelope(A123456789=True), 422, "a-number", None),
    "unknown field": (_data(last_name="Doe"), 422, "unknown-field", "data.last_name"),
    "unknown field beside the data": (_envelope(traceparent="00-0"), 422, "unknown-field", "traceparent"),
    "unknown field in an offense": (
        _data(offenses=[{"category": "90D", "basis": "charged", "note": "x"}]),
        422, "unknown-field", "data.offenses.0.note",
    ),
    "unknown code": (_data(form="I-999"), 422, "unknown-code", "data.form"),
    "missing field": (_data(issued_at=None), 422, "missing-field", "data.issued_at"),
    "withdrawn without reason": (_data(withdrawn=True), 422, "missing-field", "data.withdrawn_reason"),
    "another subject": (_envelope(subject=events.detainer_id(2)), 422, "subject-mismatch", "subject"),
    "unknown type": (_envelope(type="detainer-invented"), 422, "unknown-type", "type"),
    "declined before issued": (
        events.encoded(events.envelope("declined", events.declined(1, declined_at="2017-01-29T12:00:00Z"))),
        422, "order-of-instants", "data.declined_at",
    ),
    "NaN": (_text('"version":1', '"version":NaN'), 422, "not-a-number", None),
    "Infinity": (_text('"version":1', '"version":-Infinity'), 422, "not-a-number", None),
    "duplicate keys": (_text('"version":1', '"version":1,"version":2'), 422, "duplicate-key", "version"),
    "NUL in text": (_text("I-247D", "I-24\\u00007D"), 422, "control-character", "data.form"),
    "an array for data": (
        events.encoded(events.envelope("issued", events.issued(1)) | {"data": []}), 422, "wrong-type", "data",
    ),
    "a jurisdiction of others": (_data(jurisdiction="36059"), 422, "jurisdiction-not-allowed", "data.jurisdiction"),
    "another agency's name": (_envelope(source=f"/agencies/{NEW_YORK}"), 422, "source-not-allowed", "source"),
    "20 kB": (_text("I-247D", "I" * 20_000), 413, "too-large", None),
    "text": (b'"an event"', 400, "not-json", None),
}  # fmt: skip
# These are no elements of a JSON array, so they come alone only.
NO_JSON = {
    "broken JSON": (GOOD[:-1], "not-json"),
    "two events": (GOOD + GOOD, "not-json"),
    "a NUL byte": (_text("I-247D", "I-24\x007D"), "not-json"),
    "broken UTF-8": (GOOD.replace(b"event-1", b"event-\xff"), "not-utf8"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "not-utf8"),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD, "not-json"),
    "spaces": (b"   ", "not-json"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_one_bad_event_is_a_problem(http: httpx.AsyncClient, name: str) -> None:
    value, status, code, field = REFUSED[name]
    response = await post(http, value)
    told = _problem(response, status, code)
    assert field is None or told["detail"].startswith(f"{field}: ")
    assert "id" in told
    assert "Doe" not in response.text


async def test_nothing_of_what_is_refused_is_on_the_log(http: httpx.AsyncClient, kafka: KafkaPart) -> None:
    before = await kafka_log.ends(kafka.bootstrap)
    for value, *_ in (*REFUSED.values(), *NO_JSON.values()):
        assert (await post(http, value)).is_client_error
    assert await kafka_log.ends(kafka.bootstrap) == before


@pytest.mark.parametrize("name", NO_JSON)
async def test_what_is_no_json_is_a_problem(http: httpx.AsyncClient, name: str) -> None:
    value, code = NO_JSON[name]
    _problem(await post(http, value), 400, code)


@pytest.mark.parametrize("name", ["NaN", "Infinity", "broken JSON", "a NUL byte", "spaces"])
async def test_a_batch_that_is_no_json_is_refused_as_a_whole(
    http: httpx.AsyncClient, kafka: KafkaPart, name: str
) -> None:
    before = await kafka_log.ends(kafka.bootstrap)
    value = REFUSED[name][0] if name in REFUSED else NO_JSON[name][0]
    _problem(await post(http, processes.batch([GOOD, value]), BATCH), 400, "not-a-batch")
    assert await kafka_log.ends(kafka.bootstrap) == before


async def test_bad_events_in_a_batch_have_receipts_and_the_good_ones_are_stored(
    http: httpx.AsyncClient, kafka: KafkaPart
) -> None:
    refused = {name: bad for name, bad in REFUSED.items() if name not in {"NaN", "Infinity"}}
    values = [GOOD]
    for value, *_ in refused.values():
        values += [value, GOOD]
    before = await kafka_log.ends(kafka.bootstrap)
    response = await post(http, processes.batch(values), BATCH)
    assert response.status_code == 207
    answer = response.json()
    receipts = answer["receipts"]
    assert [receipt["line"] for receipt in receipts] == list(range(1, len(values) + 1))
    assert {receipt["status"] for receipt in receipts[::2]} == {"accepted"}
    for receipt, (name, (_, _, code, field)) in zip(receipts[1::2], refused.items(), strict=True):
        assert (receipt["status"], receipt["code"], receipt["retryable"]) == ("rejected", code, False), name
        assert field is None or receipt["detail"].startswith(f"{field}: "), name
        assert "offset" not in receipt, name
    good = len(refused) + 1
    assert answer["summary"] == {"lines": len(values), "accepted": good, "rejected": len(refused), "unavailable": 0}
    after = await kafka_log.ends(kafka.bootstrap)
    assert sum(after.values()) - sum(before.values()) == good


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"", SINGLE, 400, "empty-body"),
        (b"", BATCH, 400, "empty-body"),
        (b" " * 2_097_152, SINGLE, 413, "too-large"),
        (processes.batch([GOOD] * 5_000), BATCH, 413, "too-large"),
        (processes.batch([GOOD] * 1_001), BATCH, 413, "batch-too-long"),
        (b"[]", BATCH, 400, "not-a-batch"),
        (GOOD, BATCH, 400, "not-a-batch"),
        (b"[1", BATCH, 400, "not-a-batch"),
        (GOOD, "application/json", 415, "unsupported-media-type"),
        (GOOD, "text/plain", 415, "unsupported-media-type"),
        (GOOD, "", 415, "unsupported-media-type"),
    ],
)
async def test_a_bad_body_is_a_problem(
    http: httpx.AsyncClient, body: bytes, content_type: str, status: int, code: str
) -> None:
    _problem(await post(http, body, content_type), status, code)


async def test_a_body_without_a_length_is_not_read_beyond_the_limit(http: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 65_536

    _problem(await post(http, endless()), 413, "too-large")


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer unknown", f"Basic {key_of(NEW_YORK)}", key_of(NEW_YORK), f"Bearer {key_of(EXPIRED)}"],
)
async def test_an_unknown_key_is_a_problem(http: httpx.AsyncClient, authorization: str) -> None:
    response = await post(http, GOOD, Authorization=authorization)
    _problem(response, 401, "unknown-key")
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_a_kind_that_the_agency_may_not_send_is_refused(ingest: Service) -> None:
    data = events.declined(1, jurisdiction=events.NASSAU)
    value = events.encoded(events.envelope("declined", data, agency=NEW_YORK))
    async with processes.client(ingest, NEW_YORK) as http:
        _problem(await post(http, value), 422, "kind-not-allowed")


async def test_other_methods_and_addresses_are_problems(http: httpx.AsyncClient) -> None:
    _problem(await http.get("/v1/events"), 405, "method-not-allowed")
    _problem(await http.put("/v1/events", content=GOOD), 405, "method-not-allowed")
    _problem(await http.get("/v1/nothing"), 404, "not-found")


async def test_the_outcomes_are_in_the_metrics(http: httpx.AsyncClient) -> None:
    await post(http, GOOD)
    await post(http, REFUSED["version 0"][0])
    text = (await http.get("/metrics")).text
    assert 'ddor_ingest_events_total{code="",kind="issued",outcome="accepted"}' in text
    assert 'ddor_ingest_events_total{code="out-of-range",kind="issued",outcome="rejected"}' in text
    assert 'ddor_agency_last_event_timestamp_seconds{agency="ice-las-vegas"}' in text


def _problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that the answer is problem+json (RFC 9457) with this status and code; its members."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = response.json()
    assert (told["status"], told["code"], told["type"]) == (status, code, f"/problems/{code}")
    assert told["title"]
    assert told["detail"]
    return told
