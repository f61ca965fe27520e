"""schemas.acceptance_fast: for all bytes, the same fact or refusal as `accept`."""

from __future__ import annotations

import copy
import json
import random
import string
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas import acceptance_fast, instant_fast, taxonomy
from schemas.acceptance import MAX_EVENT_BYTES, Refused, accept, accept_any, accept_event
from schemas.acceptance_fast import accept_any_fast, accept_event_fast, accept_fast
from schemas.fact import Fact
from tests.unit import test_acceptance as known
from tests.unit.sample_changes import (
    DATES,
    FRACTIONS,
    IDS,
    OFFENSES,
    PIECES,
    PLACES,
    TAILS,
    TIMES,
    ZONES,
    altered,
    laid_out,
    layouts,
    paths_of,
    shuffled,
    valid,
)
from tests.unit.sample_events import Document, changed, encoded, event
from tests.unit.test_refusals import ANYWHERE, BYTES

TOPICS = (None, "detainer-issued", "detainer-declined")
COMPACT = (",", ":")
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

Outcome = Fact | tuple[str, str | None, str]


def outcome(judge: Any, value: bytes | None, topic: str | None) -> Outcome:
    try:
        fact: Fact = judge(value, topic)
    except Refused as refused:
        return refused.code, refused.field, refused.detail
    return fact


def assert_agree(value: bytes | None, topic: str | None = None) -> Outcome:
    slow, fast = outcome(accept, value, topic), outcome(accept_fast, value, topic)
    assert fast == slow, value
    if isinstance(slow, Fact) and isinstance(fast, Fact):
        assert fast.fingerprint == slow.fingerprint
        assert [type(getattr(fast, name)) for name in Fact.__struct_fields__] == [
            type(getattr(slow, name)) for name in Fact.__struct_fields__
        ]
        assert accept_event_fast(value or b"") == accept_event(value), "with the attributes of its envelope"
    return slow


def _dense(document: Document) -> bytes:
    return json.dumps(document, separators=COMPACT, ensure_ascii=False).encode("utf-8", "surrogatepass")


@pytest.fixture
def no_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the slower path: an event that the fast path does not accept fails the test."""

    def never(*_: object) -> Fact:
        raise AssertionError("this event took the slower path")

    monkeypatch.setattr(acceptance_fast, "accept", never)


@given(document=valid(), separators=layouts, topic=st.sampled_from(TOPICS))
def test_both_paths_give_the_same_fact_of_valid_events(
    document: Document, separators: tuple[str, str], topic: str | None
) -> None:
    assert_agree(laid_out(document, separators), topic)


def test_ordinary_events_take_the_fast_path(no_way_back: None) -> None:
    """Otherwise a mistake in the fast path would make everything slow without failing a test."""
    rng = random.Random(1)
    for kind in ("issued", "declined"):
        whole = event(kind, location="32003", facility="CCDC", form="I-247D", citizenship="MEX", withdrawn=False)
        for document in (event(kind), whole, *(shuffled(whole, rng) for _ in range(20))):
            assert isinstance(accept_fast(encoded(document), f"detainer-{kind}"), Fact)
        for name in ("location", "facility", "form", "citizenship", "withdrawn", "offenses"):
            accept_fast(_dense(changed(whole | {"data": whole["data"] | {"offenses": []}}, f"data.{name}")))
    for listed in ([], OFFENSES[:1], OFFENSES, [*OFFENSES, *OFFENSES]):
        accept_fast(_dense(event(offenses=listed)))
    for fraction in FRACTIONS:
        for zone in ZONES:
            accept_fast(_dense(event(issued_at=f"2017-01-30T09:15:00{fraction}{zone}")))
    for jurisdiction, operator in PLACES:
        accept_fast(_dense(event(jurisdiction=jurisdiction, operator=operator)))
    for more in ({"traceparent": PARENT}, {"traceparent": PARENT, "tracestate": "a=1,b@c=2;3"}):
        accept_fast(_dense(event() | more))
    for media_type in ("application/json; charset=utf-8", ...):
        accept_fast(_dense({n: m for n, m in (event() | {"datacontenttype": media_type}).items() if m is not ...}))
    for event_id in IDS:
        accept_fast(_dense(changed(event(), "id", event_id)))


@pytest.mark.parametrize("value", [value for value, _, _ in BYTES.values()], ids=BYTES)
def test_both_paths_refuse_invalid_bytes_alike(value: bytes | None) -> None:
    assert isinstance(assert_agree(value), tuple)


@pytest.mark.parametrize("name", [name for name, (value, *_) in BYTES.items() if value is not None])
def test_bytes_without_a_valid_type_are_refused_alike(name: str) -> None:
    value = BYTES[name][0]
    assert outcome(lambda value, _: accept_any_fast(value), value, None) == outcome(accept_any, value, None)


@pytest.mark.parametrize("path", sorted({path for path, *_ in ANYWHERE.values()} | set(known.STRING_FIELDS)))
def test_a_violated_rule_is_refused_alike(path: str) -> None:
    """Every value of the table of broken rules in every field of the table, for both kinds."""
    for document in (event("issued"), event("declined")):
        for value in [value for _, value, *_ in ANYWHERE.values()]:
            try:
                assert_agree(_dense(changed(document, path) if value is ... else changed(document, path, value)))
            except (KeyError, IndexError, TypeError):
                continue


def test_another_kinds_topic_is_refused_alike() -> None:
    for kind in ("issued", "declined"):
        for topic in (*TOPICS, "x"):
            assert_agree(encoded(event(kind)), topic)


@pytest.mark.parametrize("day", DATES)
def test_instants_are_read_alike(day: str) -> None:
    template = _dense(event(issued_at="INSTANT")).decode()
    for time in TIMES:
        for tail in TAILS:
            for between in "Tt " if tail == "Z" else "T":
                assert_agree(template.replace("INSTANT", f"{day}{between}{time}{tail}").encode())


@given(st.text("0123456789-:.TZtz+ ", max_size=32))
@example("1600-01-01T00:60:00Z")
@example("2017-01-30T24:00:00Z")
def test_any_text_is_an_instant_for_both_or_for_neither(text: str) -> None:
    assert_agree(_dense(event(issued_at=text)))
    assert_agree(_dense(changed(event(), "time", text)))


@given(document=valid(), seed=st.integers(0, 2**32), changes=st.integers(1, 3), separators=layouts)
def test_events_with_a_change_of_the_json_are_judged_alike(
    document: Document, seed: int, changes: int, separators: tuple[str, str]
) -> None:
    rng = random.Random(seed)
    document = copy.deepcopy(document)
    going_on = True
    while going_on and (changes := changes - 1) >= 0:
        document, going_on = altered(document, rng)
    assert_agree(laid_out(document, separators))


def test_a_duplicate_member_is_found_at_any_depth() -> None:
    """msgspec ignores it. Counting quotation marks detects it for all values."""
    for kind in ("issued", "declined"):
        whole = event(kind, location="32003", facility="CCDC", withdrawn=False, offenses=OFFENSES[:2])
        for path in paths_of(whole):
            *parents, last = path
            holder: Any = json.loads(json.dumps(whole))
            for name in parents:
                holder = holder[name]
            if isinstance(holder, list):
                continue
            value: Any
            for value in (holder[last], "", 1, [], {}):
                text = _dense(whole).decode()
                member = f"{json.dumps(last)}:{json.dumps(holder[last], separators=COMPACT)}"
                assert member in text
                doubled = f"{json.dumps(last)}:{json.dumps(value, separators=COMPACT)},{member}"
                refused = assert_agree(text.replace(member, doubled, 1).encode())
                assert not isinstance(refused, Fact)
                assert refused[0] == "duplicate-key"


def test_a_missing_member_does_not_hide_a_duplicate() -> None:
    """The right number of quotation marks, but of other members."""
    text = _dense(event(form="I-247D")).decode()
    assert '"form":"I-247D"' in text
    for name in ("operator", "jurisdiction", "version"):
        value = json.dumps(event()["data"][name])
        refused = assert_agree(text.replace('"form":"I-247D"', f'"{name}":{value}').encode())
        assert not isinstance(refused, Fact)
        assert refused[0] == "duplicate-key"


@given(
    document=valid(),
    separators=layouts,
    cuts=st.lists(
        st.tuples(st.floats(0, 1), st.sampled_from([0, 0, 1, 1, 2, 5, 20]), st.sampled_from([b"", *PIECES])),
        min_size=1,
        max_size=2,
    ),
)
def test_events_with_a_change_of_the_bytes_are_judged_alike(
    document: Document, separators: tuple[str, str], cuts: list[tuple[float, int, bytes]]
) -> None:
    value = laid_out(document, separators)
    for fraction, length, piece in cuts:
        at = int(fraction * len(value))
        value = value[:at] + piece + value[at + length :]
    assert_agree(value)


def test_a_character_more_or_less_anywhere_is_judged_alike() -> None:
    """Each of them, for an event of each kind."""
    for kind in ("issued", "declined"):
        value = _dense(event(kind, facility="CCDC", withdrawn=False))
        for at in range(len(value)):
            for piece in (b"", b'"', b"\\", b"0", b"\x00", b" ", b"\xc3\xa9"):
                assert_agree(value[:at] + piece + value[at + 1 :])
                assert_agree(value[:at] + piece + value[at:])
            assert_agree(value[:at])


@given(st.binary(max_size=200))
def test_any_bytes_are_judged_alike(value: bytes) -> None:
    assert_agree(value)


def test_an_escape_of_any_character_is_read_alike() -> None:
    value = _dense(event("declined")).decode()
    for at, character in enumerate(value):
        if character in string.ascii_letters + string.digits + "/-:":
            assert_agree((value[:at] + f"\\u{ord(character):04x}" + value[at + 1 :]).encode())


def test_both_paths_have_the_same_size_limit() -> None:
    for more in (-1, 0, 1):
        assert_agree(_dense(event()).ljust(MAX_EVENT_BYTES + more))


def test_caches_are_bounded_and_do_not_affect_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (acceptance_fast, instant_fast):
        monkeypatch.setattr(module, "_KNOWN_LIMIT", 3)
    for turn in range(3):
        for number in range(10):
            offenses = [{"category": code, "basis": "charged"} for code in sorted(taxonomy.offenses())[: number + 1]]
            issued_at = f"2017-01-{10 + number}T12:00:00Z"
            document = event(issued_at=issued_at, facility=f"JAIL-{number}", offenses=offenses)
            document |= {"source": f"/agencies/a{number}", "dataschema": f"https://example.org/{turn}/{number}"}
            assert isinstance(assert_agree(_dense(document)), Fact)
    remembered = (
        acceptance_fast._agencies,
        acceptance_fast._schemas,
        acceptance_fast._facilities,
        acceptance_fast._lists,
        instant_fast._hours,
    )
    assert [len(known) for known in remembered if not 0 < len(known) <= 3] == []
