"""schemas.acceptance: the fact of a valid event; a refusal never quotes the event."""

from __future__ import annotations

import json
import string
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.acceptance import Refused, accept
from schemas.detainer import Kind
from schemas.instant import instant, microseconds
from tests.unit.sample_events import changed, encoded, event, fact, refusal

ISSUED, DECLINED = event("issued"), event("declined")


def test_issued_declined_and_recorded_may_be_one_instant() -> None:
    at = "2017-01-29T12:00:00Z"
    one = fact("declined", issued_at=at, declined_at=at, recorded_at=at)
    assert one.issued_us == one.declined_us == one.recorded_us == microseconds(datetime(2017, 1, 29, 12, tzinfo=UTC))


STRING_FIELDS = [
    *(path for path, value in ISSUED.items() if isinstance(value, str) and path != "type"),
    *(f"data.{name}" for name, value in DECLINED["data"].items() if isinstance(value, str)),
    "data.offenses.0.category",
    "data.offenses.0.basis",
    "data.withdrawn_reason",
    "redriveof",
    "anything",
    "data.anything",
]


@pytest.mark.parametrize(
    "number",
    ["A12345678", "a012345678", "12345678", "012345678", "A012-345-678", "id:A012345678;", "A1234567", "2017A12345678"],
)
@pytest.mark.parametrize("path", STRING_FIELDS)
def test_no_string_may_be_shaped_like_an_alien_registration_number(path: str, number: str) -> None:
    refused = refusal(encoded(changed(DECLINED, path, number)))
    assert (refused.code, refused.field) == ("a-number", path)
    assert number not in str(refused)


@pytest.mark.parametrize(
    "value", ["1234567", "1234567890", "A123456", "AB12345678", "A012-345-6789", "2017-01-28/1", "import-2017012812"]
)
def test_other_numbers_are_no_alien_registration_numbers(value: str) -> None:
    accept(encoded(changed(ISSUED, "id", value)))


def test_a_uuid_and_an_instant_may_hold_eight_digits() -> None:
    fact(detainer_id="12345678-1234-4234-8234-123456789012", issued_at="2017-01-30T09:15:00.123456789+00:00")


def test_an_unknown_field_is_named_before_any_other_problem() -> None:
    """An unknown field may contain personal data, so the event is not stored."""
    refused = refusal(encoded(event("issued", version="x", form="x", first_name="Jane")))
    assert (refused.code, refused.field) == ("unknown-field", "data.first_name")
    assert refused.detail.endswith("(and 2 more)")


def test_the_name_in_a_refusal_is_on_one_line() -> None:
    assert refusal(b'{"x\\n": 1, "x\\n": 1}').field == "(a name of 2 characters)"


def test_an_example_gives_its_fact() -> None:
    declined = accept(encoded(DECLINED), "detainer-declined")
    assert declined.kind is Kind.DECLINED
    assert declined.agency == "ice-las-vegas"
    assert declined.identity == (Kind.DECLINED, "ice-las-vegas", DECLINED["data"]["detainer_id"])
    assert declined.recorded_us == declined.counted_us
    assert instant(declined.counted_us) == datetime(2017, 1, 31, 22, 30, tzinfo=UTC)
    assert declined.offenses == (("520", "charged"),)
    assert not declined.withdrawn
    issued = accept(encoded(ISSUED), "detainer-issued")
    assert issued.counted_us == issued.issued_us
    assert instant(issued.counted_us) == datetime(2017, 1, 30, 17, 15, tzinfo=UTC)
    assert (issued.declined_us, issued.recorded_us, issued.version) == (None, None, 1)


def test_unknown_offenses_differ_from_no_offenses() -> None:
    assert fact(offenses=...).offenses is None
    assert fact(offenses=[]).offenses == ()


def test_a_code_that_is_no_longer_valid_is_unchanged() -> None:
    assert fact(jurisdiction="46113", location="46113").jurisdiction == "46113"
    assert fact(jurisdiction="09001").jurisdiction == "09001"


def test_digits_below_microseconds_are_truncated() -> None:
    assert fact(issued_at="2017-01-30T09:15:00.9999999Z").issued_us % 1_000_000 == 999_999


def test_each_operator_fits_its_own_kind_of_jurisdiction() -> None:
    for jurisdiction, operator in (("32003", "city"), ("32", "state"), ("US", "federal"), ("2430", "tribal")):
        assert fact(jurisdiction=jurisdiction, operator=operator).operator == operator


# The inserted text consists of letter pairs that appear in no code, field or message.
secrets = st.text(string.ascii_uppercase + "é \u2028", min_size=12, max_size=40).map(lambda text: f"Qx {text} xQ")


@given(
    path=st.sampled_from([*STRING_FIELDS, "type", "data", "data.version", "data.withdrawn", "data.offenses.1"]),
    secret=secrets,
)
def test_a_refusal_never_quotes_a_value(path: str, secret: str) -> None:
    refused = refusal(encoded(changed(DECLINED if path != "data.offenses.1" else ISSUED, path, secret)))
    assert secret not in f"{refused}{refused.code}{refused.field}{refused.detail}{refused!r}"


@given(
    secret=secrets,
    where=st.sampled_from(["", "data.", "data.offenses.0."]),
    number=st.sampled_from(["", " A012345678"]),
)
def test_a_refusal_never_quotes_a_field_name_that_could_be_personal_data(secret: str, where: str, number: str) -> None:
    name = f"{secret} {number}"
    for bad in (encoded(changed(DECLINED, where + name, 1)), encoded({name: 1})[:-1] + encoded({name: 1})[1:]):
        refused = refusal(bad)
        assert secret not in f"{refused}{refused.field}{refused.detail}"


@given(st.binary(max_size=300))
def test_any_bytes_are_accepted_or_refused(value: bytes) -> None:
    with pytest.raises(Refused):
        accept(value)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner)
)


@given(
    kind=st.sampled_from(["issued", "declined"]),
    changes=st.dictionaries(
        st.sampled_from([*STRING_FIELDS, "type", "data", "data.version", "data.offenses", "data.withdrawn"]),
        anything,
        min_size=1,
        max_size=3,
    ),
)
def test_any_json_is_accepted_or_refused(kind: str, changes: dict[str, object]) -> None:
    document = event(kind)
    for path in sorted(changes, reverse=True):
        try:
            document = changed(document, path, changes[path])
        except (KeyError, IndexError, TypeError, ValueError):
            continue
    value = json.dumps(document).encode("utf-8", "surrogatepass")
    outcomes = set()
    for _ in range(2):
        try:
            outcomes.add(accept(value).fingerprint.hex())
        except Refused as refused:
            outcomes.add(str(refused))
    assert len(outcomes) == 1
