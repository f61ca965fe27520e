"""schemas.acceptance: conventions of CloudEvents; slow path, fast path and schema agree."""

from __future__ import annotations

import json
import random

import pytest

from schemas.acceptance import Refused, accept, accept_any
from schemas.acceptance_fast import accept_any_fast, accept_fast
from schemas.fact import Fact
from tests.support.golden import golden
from tests.unit.sample_events import Document, changed, encoded, event, refusal

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STATE = "rojo=00f067aa0ba902b7,33@nr=0-0-33-28-7d3efb1b173fecfa,dd=s:2;o:rum~"


def judged(document: Document) -> Fact:
    """The fact of an event that both paths and the schema accept."""
    value = encoded(document)
    fact = accept(value)
    assert accept_fast(value) == fact
    golden(document["type"]).validate(document)
    return fact


def refused(document: Document) -> tuple[str, str | None]:
    """Code and field of an event that both paths and the schema refuse."""
    value = encoded(document)
    with pytest.raises(Refused) as caught:
        accept_fast(value)
    slow = refusal(value)
    assert (caught.value.code, caught.value.field) == (slow.code, slow.field)
    assert not golden("detainer-issued").is_valid(document)
    return slow.code, slow.field


# An attribute that is null is absent.


@pytest.mark.parametrize(
    "name", ["traceparent", "tracestate", "redriveof", "data_base64", "datacontenttype", "partitionkey", "sequence"]
)
def test_an_attribute_that_is_null_is_absent(name: str) -> None:
    assert judged(event() | {name: None}) == judged(event())


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject", "time", "dataschema"])
def test_a_required_attribute_that_is_null_is_missing(name: str) -> None:
    assert refused(event() | {name: None}) == ("missing-field", name)


def test_an_invalid_attribute_name_is_refused_even_if_null() -> None:
    for name in ("Jane Doe", "janeDoe", "x" * 21, "", "data-base64"):
        assert refused(event() | {name: None})[0] == "unknown-field"
    assert refusal(encoded(event() | {"a12345678": None})).code == "a-number"
    assert refused(changed(event(), "data.anything", None)) == ("unknown-field", "data.anything")
    assert refused(changed(event(), "data", None)) == ("wrong-type", "data")


def test_an_unknown_name_is_not_stored_with_a_reject() -> None:
    late = event(jurisdiction="32999")
    assert refusal(encoded(late)).impersonal
    assert refusal(encoded(late | {"traceparent": None, "redriveof": None})).impersonal
    assert not refusal(encoded(late | {"janedoe": None})).impersonal
    assert not refusal(encoded(late | {"tracestate": STATE})).impersonal


def test_a_duplicate_null_is_a_duplicate() -> None:
    text = encoded(event())[:-1] + b', "traceparent": null, "traceparent": null}'
    assert refusal(text).code == "duplicate-key"


# datacontenttype


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'Application/JSON ; Charset="utf-8"',
        None,
    ],
)
def test_every_notation_of_the_json_content_type_is_accepted(media_type: str | None) -> None:
    assert judged(changed(event(), "datacontenttype", media_type)) == judged(event())


def test_without_a_content_type_it_is_json() -> None:
    assert judged(changed(event(), "datacontenttype")) == judged(event())


@pytest.mark.parametrize(
    "media_type",
    [
        "", "text/json", "application/xml", "application/json; charset=latin1", "application/json; charset=utf-16",
        "application/json;", "application/json, text/plain", "application/jsonp", "application/json; charset=utf-8 x",
        "application/cloudevents+json", "application/json" + " " * 5_000 + "x",
    ],
)  # fmt: skip
def test_another_content_type_is_refused(media_type: str) -> None:
    assert refused(event() | {"datacontenttype": media_type}) == ("unknown-code", "datacontenttype")


# Tracing


@pytest.mark.parametrize("kind", ["issued", "declined"])
def test_a_trace_is_accepted_and_not_part_of_the_fact(kind: str) -> None:
    traced = event(kind) | {"traceparent": PARENT, "tracestate": STATE}
    other = event(kind) | {"traceparent": PARENT.replace("b7ad", "b7ae")}
    assert judged(traced) == judged(other) == judged(event(kind))
    assert judged(traced).fingerprint == judged(event(kind)).fingerprint


def test_an_attestation_may_be_traced() -> None:
    data = {"week_start": "2017-01-28", "version": 1, "counts": {}}
    plain = event() | {
        "type": "week-attested",
        "subject": "2017-01-28",
        "data": data,
        "dataschema": "/schemas/week-attested/1",
    }
    value = encoded(plain | {"traceparent": PARENT})
    assert accept_any(value) == accept_any_fast(value) == accept_any(encoded(plain))


@pytest.mark.parametrize(
    "parent",
    [
        "", "00", PARENT.upper(), PARENT + "-00", PARENT[:-1], PARENT + "0", " " + PARENT, "01" + PARENT[2:],
        "ff" + PARENT[2:], PARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        PARENT.replace("b7ad6b7169203331", "0" * 16), PARENT.replace("-", ":"),
    ],
)  # fmt: skip
def test_another_traceparent_is_refused(parent: str) -> None:
    assert refused(event() | {"traceparent": parent}) == ("bad-format", "traceparent")


def test_no_hexadecimal_digits_of_a_trace_are_an_alien_registration_number() -> None:
    digits = f"00-a{'1234567890' * 3}1-a{'12345678' * 2}"[:52]
    for parent in (f"{digits}-01", f"00-{'12345678' * 4}-{'12345678' * 2}-00"):
        judged(event() | {"traceparent": parent})


def test_a_trace_is_never_refused_for_its_digits() -> None:
    """Random hexadecimal digits may look like an A-number; a trace must not cause a refusal."""
    rng = random.Random(20170128)
    for _ in range(3_000):
        trace, parent, other = (f"{rng.getrandbits(bits):0{bits // 4}x}" for bits in (128, 64, 64))
        value = encoded(event() | {"traceparent": f"00-{trace}-{parent}-01", "tracestate": f"rojo={other},b={parent}"})
        assert accept(value) == accept_fast(value)


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("", "bad-format"), ("a", "bad-format"), ("a=", "bad-format"), ("A=1", "bad-format"), ("a=1,", "bad-format"),
        ("name=Jane Doe", "bad-format"), ("a=b=c", "bad-format"), ("a=é", "bad-format"),
        (",".join(f"k{n}=1" for n in range(33)), "bad-format"), (",".join(["a=" + "x" * 200] * 3), "out-of-range"),
        ("a=A12345678", "a-number"), ("a=1\tb", "control-character"),
    ],
)  # fmt: skip
def test_another_tracestate_is_refused(state: str, code: str) -> None:
    value = encoded(event() | {"tracestate": state})
    with pytest.raises(Refused) as caught:
        accept_fast(value)
    assert (caught.value.code, caught.value.field) == (refusal(value).code, "tracestate") == (code, "tracestate")


def test_a_long_tracestate_is_checked_in_linear_time() -> None:
    for state in ("a=" + "x" * 15_000, "a=1," * 3_000, "a=1 , " * 2_000, "a" * 15_000):
        assert refusal(encoded(event() | {"tracestate": state})).field == "tracestate"


@pytest.mark.parametrize("name", ["traceid", "partitionkey", "sequence", "dataref", "expirytime"])
def test_other_extensions_are_refused_by_name(name: str) -> None:
    assert refused(event() | {name: "1"}) == ("unknown-field", name)


# Numbers: an integer may be written in several ways.


def numbered(text: str, kind: str = "issued") -> bytes:
    return encoded(event(kind, version=4_711_002)).replace(b"4711002", text.encode())


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1), ("2.0", 2), ("1e3", 1_000), ("1E+3", 1_000), ("0.5e1", 5), ("1000e-3", 1), ("1.50e1", 15),
        ("9007199254740991.0", 2**53 - 1), ("4503599627370497.00", 4_503_599_627_370_497),
        ("1" + "0" * 300 + "e-300", 1),
    ],
)  # fmt: skip
def test_every_notation_of_an_integer_is_accepted(text: str, number: int) -> None:
    value = numbered(text)
    assert accept(value).version == accept_fast(value).version == number
    assert golden("detainer-issued").is_valid(json.loads(value))


@pytest.mark.parametrize(
    "text", ["1.5", "0.0", "1e-1", "9007199254740992.0", "1e16", "1e400", "-1e0", "1e999999999999999999999", "1e-400"]
)
def test_other_numbers_are_refused(text: str) -> None:
    value = numbered(text)
    assert refusal(value).code in {"wrong-type", "out-of-range"}
    with pytest.raises(Refused):
        accept_fast(value)
    assert not golden("detainer-issued").is_valid(json.loads(value))


def test_a_fraction_below_float_precision_is_not_rounded() -> None:
    assert refusal(numbered("4503599627370497.5")).code == "wrong-type"
    assert refusal(numbered("1.00000000000000000000000000001")).code == "wrong-type"


def test_counts_of_an_attestation_are_read_alike() -> None:
    data = {"week_start": "2017-01-28", "version": 1, "counts": {"issued": 4_711_002}}
    plain = event() | {
        "type": "week-attested",
        "subject": "2017-01-28",
        "data": data,
        "dataschema": "/schemas/week-attested/1",
    }
    for text, count in (("118.0", 118), ("0.0", 0), ("-0.0", 0), ("1.18e2", 118)):
        value = encoded(plain).replace(b"4711002", text.encode())
        assert accept_any(value) == accept_any(encoded(plain).replace(b"4711002", str(count).encode()))
    for text in ("0.5", "1e-400", "0e99999999999999999999"):
        with pytest.raises(Refused):
            accept_any(encoded(plain).replace(b"4711002", text.encode()))


def test_a_number_is_not_accepted_for_another_type() -> None:
    for path in ("data.jurisdiction", "id", "data.withdrawn", "data.offenses"):
        for number in (1.0, 0.5):
            assert refused(changed(event(), path, number)) == ("wrong-type", path)


# A leap second


@pytest.mark.parametrize("instant", ["2016-12-31T23:59:60Z", "2016-12-31T18:59:60.5-05:00", "2016-12-31t23:59:60z"])
def test_a_leap_second_is_refused_with_the_rule(instant: str) -> None:
    for path in ("time", "data.issued_at"):
        assert refused(changed(event(), path, instant)) == ("bad-timestamp", path)
        assert "leap second" in refusal(encoded(changed(event(), path, instant))).detail
