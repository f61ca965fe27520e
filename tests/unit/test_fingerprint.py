"""The fingerprint: it depends on the data only, not on the sender or the notation."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.acceptance import accept
from tests.unit.sample_events import Document, changed, encoded, event, fact

DECLINED = event(
    "declined", offenses=[{"category": "520", "basis": "charged"}, {"category": "13A", "basis": "charged"}]
)
WITHDRAWN = event("declined", withdrawn=True, withdrawn_reason="entered-in-error")


def fingerprint(document: Document) -> str:
    return accept(encoded(document)).fingerprint.hex()


def shuffled(value: object, rng: random.Random) -> object:
    """The same JSON with the members of each object reordered."""
    if isinstance(value, dict):
        members = list(value.items())
        rng.shuffle(members)
        return {name: shuffled(member, rng) for name, member in members}
    return [shuffled(one, rng) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", ["issued", "declined"])
def test_the_fingerprint_is_the_same_in_every_release(kind: str) -> None:
    """Fingerprints are stored: a new value would make every retry a conflict. Instead, raise RULES_VERSION."""
    known = {"issued": "2391f7fcb9b6e03ec8c00e1b1c9bb109", "declined": "07e6a70cbbc84c4fb481a453b5a52155"}
    assert fingerprint(event(kind)) == known[kind]


@given(st.randoms(use_true_random=False))
def test_the_order_of_members_does_not_matter(rng: random.Random) -> None:
    document = shuffled(DECLINED, rng)
    assert isinstance(document, dict)
    assert fingerprint(document) == fingerprint(DECLINED)


@pytest.mark.parametrize("text", [json.dumps(DECLINED, indent=4), json.dumps(DECLINED, separators=(",", ":"))])
def test_white_space_does_not_matter(text: str) -> None:
    assert accept(text.encode()).fingerprint.hex() == fingerprint(DECLINED)


def test_escapes_do_not_matter() -> None:
    text = json.dumps(DECLINED).replace('"policy"', '"\\u0070olicy"')
    assert accept(text.encode()).fingerprint.hex() == fingerprint(DECLINED)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("id", "another"),
        ("time", "2020-01-01T00:00:00Z"),
        ("dataschema", "https://example.org/schemas/detainer-declined/1"),
        ("source", "/agencies/another"),
        ("redriveof", "detainer-declined/3/141"),
    ],
)
def test_the_envelope_does_not_matter(path: str, value: str) -> None:
    assert fingerprint(changed(DECLINED, path, value)) == fingerprint(DECLINED)


@given(minutes=st.integers(-14 * 60, 14 * 60), name=st.sampled_from(["issued_at", "declined_at", "recorded_at"]))
def test_an_instant_is_the_same_in_every_offset(minutes: int, name: str) -> None:
    zone = timezone(timedelta(minutes=minutes))
    there = datetime.fromisoformat(DECLINED["data"][name]).astimezone(zone).isoformat()
    assert fingerprint(changed(DECLINED, f"data.{name}", there)) == fingerprint(DECLINED)


@pytest.mark.parametrize(
    "text", ["2016-11-02t14:00:00z", "2016-11-02T14:00:00.000Z", "2016-11-02T14:00:00.000000999-00:00"]
)
def test_an_instant_is_the_same_in_every_notation(text: str) -> None:
    assert fingerprint(changed(DECLINED, "data.issued_at", text)) == fingerprint(DECLINED)


def test_the_case_of_a_uuid_does_not_matter() -> None:
    upper = event("issued", detainer_id=event()["data"]["detainer_id"].upper())
    assert fingerprint(upper) == fingerprint(event())
    assert accept(encoded(upper)).detainer_id == event()["data"]["detainer_id"]


def test_the_order_and_repetition_of_offenses_do_not_matter() -> None:
    codes = ["09A", "13A", "13B", "35A", "520", "90D", "90Z", "220", "240", "100"]
    offenses = [{"category": code, "basis": basis} for code in codes for basis in ("charged", "convicted")]
    one = changed(DECLINED, "data.offenses", offenses)
    other = changed(DECLINED, "data.offenses", [*reversed(offenses), *offenses[:5]])
    assert fingerprint(one) == fingerprint(other)
    assert accept(encoded(other)).offenses == tuple(sorted((o["category"], o["basis"]) for o in offenses))


@pytest.mark.parametrize(
    "name", ["withdrawn_reason", "location", "facility", "form", "citizenship", "reason", "offenses"]
)
def test_null_equals_absent(name: str) -> None:
    absent = event("declined", **{name: ...}) if name in DECLINED["data"] else event("declined")
    assert fingerprint(event("declined", **{name: None})) == fingerprint(absent)


def test_an_explicit_default_equals_absent() -> None:
    assert fact(withdrawn=False).fingerprint == fact().fingerprint


CHANGES: dict[str, object] = {
    "detainer_id": "7d9e8f70-1b2c-4d3e-8f4a-5b6c7d8e9f0b",
    "version": 3,
    "jurisdiction": "36061",
    "operator": "city",
    "location": "36061",
    "facility": "NCC-C",
    "issued_at": "2016-11-02T10:00:00.000001-04:00",
    "declined_at": "2017-01-29T08:00:01-05:00",
    "recorded_at": "2017-01-31T17:31:00-05:00",
    "form": "I-247",
    "reason": "capacity",
    "citizenship": "GTM",
    "offenses": [],
}


@pytest.mark.parametrize("name", CHANGES)
def test_any_other_content_has_another_fingerprint(name: str) -> None:
    assert fingerprint(event("declined", **{name: CHANGES[name]})) != fingerprint(event("declined"))


@pytest.mark.parametrize("name", ["location", "facility", "form", "reason", "citizenship", "offenses"])
def test_an_absent_member_changes_the_fingerprint(name: str) -> None:
    assert fingerprint(event("declined", **{name: ...})) != fingerprint(event("declined"))


def test_every_field_affects_the_fingerprint() -> None:
    members = {*CHANGES, "withdrawn", "withdrawn_reason"}
    assert set(event("declined")["data"]) | set(WITHDRAWN["data"]) == members


@pytest.mark.parametrize(
    "offenses",
    [
        None,
        [],
        [{"category": "520", "basis": "convicted"}],
        [{"category": "521", "basis": "charged"}],
        [{"category": "520", "basis": "charged"}, {"category": "520", "basis": "convicted"}],
    ],
)
def test_other_offenses_change_the_fingerprint(offenses: object) -> None:
    assert fingerprint(event("declined", offenses=offenses)) != fingerprint(event("declined"))


def test_a_withdrawal_and_its_reason_change_the_fingerprint() -> None:
    other = changed(WITHDRAWN, "data.withdrawn_reason", "wrong-person")
    assert len({fingerprint(event("declined")), fingerprint(WITHDRAWN), fingerprint(other)}) == 3


def test_the_kind_changes_the_fingerprint() -> None:
    issued = {name: value for name, value in event("declined")["data"].items() if name in event("issued")["data"]}
    assert fact("issued", **issued).fingerprint != fact("declined", reason=...).fingerprint
