"""services.runtime.agencies: scopes of agencies, which must not overlap."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.detainer import Kind
from schemas.jurisdiction import TRIBAL_DIGITS, JurisdictionKind, registry
from services.runtime.agencies import Agencies, parse
from services.runtime.errors import ConfigurationError


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def table(name: str, jurisdictions: str = "32*", kinds: str = "issued", more: str = "", key: str | None = None) -> str:
    return (
        f'[[agency]]\nname = "{name}"\nkey_sha256 = ["{sha256(key or name)}"]\n'
        f"kinds = {kinds.split()}\njurisdictions = {jurisdictions.split()}\n{more}\n"
    )


def read(*tables: str) -> Agencies:
    return parse("\n".join(tables).encode())


def refused(*tables: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(*tables)
    return str(caught.value)


def test_an_agency_is_identified_by_its_key_alone() -> None:
    known = read(table("vegas", key="one"), table("reno", "41*", key="two"))
    found = known.by_key("two")
    assert found is not None
    assert found.agency.name == "reno"
    assert known.by_key("three") is None
    assert known.by_key("") is None
    assert known.by_key(sha256("two")) is None


def test_an_agency_can_have_an_old_and_a_new_key() -> None:
    known = read(table("vegas").replace(f'"{sha256("vegas")}"', f'"{sha256("old")}", "{sha256("new")}"'))
    found = known.by_key("old"), known.by_key("new")
    assert [one and one.agency for one in found] == [known.listed[0]] * 2


def test_each_key_has_its_own_validity() -> None:
    keys = (
        f'{{ sha256 = "{sha256("old")}", valid_to = 2017-07-01T00:00:00Z }}, "{sha256("lasting")}", '
        f'{{ sha256 = "{sha256("new")}", valid_from = 2017-06-30T20:00:00-04:00 }}'
    )
    known = read(table("vegas", more="valid_to = 2018-01-01").replace(f'"{sha256("vegas")}"', keys))

    def live(now: datetime) -> set[str]:
        held = {key: known.by_key(key) for key in ("old", "lasting", "new")}
        return {key for key, holder in held.items() if holder and holder.may_send(now)}

    handover = datetime(2017, 7, 1, tzinfo=UTC)
    assert live(handover - timedelta(microseconds=1)) == {"old", "lasting"}
    assert live(handover) == {"lasting", "new"}
    assert live(datetime(2018, 1, 1, tzinfo=UTC)) == set(), "no key outlives its agency"


@pytest.mark.parametrize(
    ("scope", "inside", "outside"),
    [
        ("3200*", ["32003", "32005"], ["32013", "320"]),
        ("32*", ["32003", "32"], ["31003", "US", "03200", "3235"]),
        ("24*", ["24", "24033"], ["2430", "US"]),
        ("245*", ["24510"], ["24", "2450"]),
        ("2430", ["2430"], ["24", "24301", "2431"]),
        ("32003", ["32003"], ["3200", "320033", "32"]),
        ("32", ["32"], ["32003"]),
        ("US", ["US"], ["32003"]),
        ("*", ["US", "32", "2430", "32003"], []),
    ],
)
def test_a_scope_is_a_code_or_a_prefix_of_codes(scope: str, inside: list[str], outside: list[str]) -> None:
    (agency,) = read(table("vegas", scope)).listed
    assert all(agency.covers(Kind.ISSUED, code) for code in inside)
    assert not any(agency.covers(Kind.ISSUED, code) for code in outside)
    assert not agency.covers(Kind.DECLINED, inside[0])


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("32003", "32003", "32003"),
        ("32*", "32003", "32003"),
        ("32003", "32*", "32003"),
        ("3*", "32*", "32*"),
        ("*", "US", "US"),
        ("01001 US", "36* US", "US"),
        ("32*", "32", "32*"),
        ("2430", "2430", "2430"),
        ("*", "2430", "2430"),
    ],
)
def test_scopes_that_overlap_are_refused_and_the_pair_is_named(one: str, other: str, both: str) -> None:
    message = refused(table("vegas", one), table("reno", other), table("far-away", "51*"))
    assert "the scopes of vegas and reno overlap" in message
    assert message.endswith(f"issued in {both}")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("32003", "32005"),
        ("32*", "33*"),
        ("US", "32*"),
        ("320*", "325*"),
        ("US", "32"),
        ("24*", "2430"),
        ("2430", "245*"),
    ],
)
def test_adjacent_scopes_are_valid(one: str, other: str) -> None:
    assert len(read(table("vegas", one), table("reno", other)).listed) == 2


def test_a_scope_of_a_state_covers_the_state_and_its_counties_and_no_code_of_another_kind() -> None:
    for state in (one for one in registry() if one.kind is JurisdictionKind.STATE):
        (agency,) = read(table("vegas", f"{state.code}*")).listed
        covered = [one for one in registry() if agency.covers(Kind.ISSUED, one.code)]
        assert state in covered
        assert {(one.state, one.kind) for one in covered} <= {
            (state.state, JurisdictionKind.STATE),
            (state.state, JurisdictionKind.COUNTY),
        }
    assert all((len(one.code) == TRIBAL_DIGITS) == (one.kind is JurisdictionKind.TRIBAL) for one in registry())


def test_one_jurisdiction_may_have_an_agency_for_each_kind() -> None:
    known = read(table("vegas", kinds="issued"), table("reno", kinds="declined"))
    assert [one.name for one in known.listed if one.covers(Kind.DECLINED, "32003")] == ["reno"]
    assert "declined in 32*" in refused(table("vegas", kinds="issued declined"), table("reno", kinds="declined"))


def test_a_scope_can_be_handed_over_in_time() -> None:
    until = "valid_to = 2017-07-01T00:00:00Z"
    since = "valid_from = 2017-06-30T20:00:00-04:00"
    known = read(table("old", more=until), table("new", more=since))
    at = datetime(2017, 7, 1, tzinfo=UTC)
    assert [one.name for one in known.listed if one.is_valid(at)] == ["new"]
    assert [one.name for one in known.listed if one.covers(Kind.ISSUED, "32003")] == ["old", "new"]
    read(table("new", more=since), table("old", more=until))
    assert "overlap" in refused(table("old", more=until), table("new", more="valid_from = 2017-06-30T23:59:59Z"))


def test_validity_includes_its_start_and_excludes_its_end() -> None:
    (agency,) = read(table("vegas", more="valid_from = 2017-01-01\nvalid_to = 2018-01-01T00:00:00Z")).listed
    begin, end = datetime(2017, 1, 1, tzinfo=UTC), datetime(2018, 1, 1, tzinfo=UTC)
    assert agency.is_valid(begin)
    assert not agency.is_valid(end)


@given(
    st.lists(
        st.sampled_from(["*", "3*", "32*", "33*", "325*", "32003", "33001", "US", "32", "3235"]), min_size=2, max_size=2
    )
)
def test_two_scopes_overlap_exactly_when_a_code_is_in_both(scopes: list[str]) -> None:
    (one,), (other,) = (read(table("one", scope)).listed for scope in scopes)
    codes = ["US", "01", "01001", "31001", "32", "3235", "32003", "32005", "32510", "33", "33001", "33003"]
    both = [code for code in codes if one.covers(Kind.ISSUED, code) and other.covers(Kind.ISSUED, code)]
    assert bool(both) == (one.overlaps(other) is not None) == (other.overlaps(one) is not None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (table("vegas", more='phone = "555"'), "vegas.phone"),
        (table("Las Vegas"), "Las Vegas.name"),
        (table("vegas", "Nevada"), "vegas.jurisdictions.0"),
        (table("vegas", "320031"), "vegas.jurisdictions.0"),
        (table("vegas", kinds="lifted"), "vegas.kinds.0"),
        (table("vegas", ""), "vegas.jurisdictions"),
        (table("vegas", kinds=""), "vegas.kinds"),
        (table("vegas").replace(sha256("vegas"), "plain-key"), "vegas.key_sha256.0"),
        (table("vegas").replace(f'"{sha256("vegas")}"', "{ valid_to = 2017-01-01 }"), "vegas.key_sha256.0.sha256"),
        (table("vegas").replace(f'"{sha256("vegas")}"', '{ digest = "x" }'), "vegas.key_sha256.0"),
        (table("vegas").replace(f'"{sha256("vegas")}"', f'"{sha256("a")}", "{sha256("a")}"'), "has a key twice"),
        (table("vegas", more="valid_from = 2017-01-01\nvalid_to = 2017-01-01"), "valid_to must be after valid_from"),
        (table("vegas", more="valid_from = 2017-01-01T00:00:00"), "vegas.valid_from"),
        (table("vegas", more='valid_from = "soon"'), "vegas.valid_from"),
        ("[agency]\n", "[[agency]]"),
        ("agency = 5\n", "[[agency]]"),
        ('agency = ["vegas"]\n', "agencies file"),
        ("[[agencies]]\n", "agencies"),
        ("[[agency]\n", "not TOML"),
        ("[[agency]]\n", "unnamed agency"),
        (table("vegas") + table("vegas", "41*", key="two"), "listed twice"),
        (table("vegas") + table("reno", "41*", key="vegas"), "share a key"),
    ],
)
def test_an_invalid_file_is_refused_with_the_location_of_the_error(text: str, expected: str) -> None:
    assert expected in refused(text)


BEYOND_UTC = ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00", '"9999-12-31T23:59:59-05:00"']
BEYOND_ARITHMETIC = [
    *(f"valid_to = {instant}" for instant in BEYOND_UTC),
    'valid_to = "2018-01-01"',
    'valid_to = "2018-01-01T00:00:00"',
    "valid_to = 1e300",
    "valid_to = nan",
    f"events_per_second = {10**400}",
    f"more = {'9' * 5_000}",
    f"more = {'[' * 5_000}{']' * 5_000}",
]
"""Values that are valid TOML but out of range."""


@pytest.mark.parametrize("instant", BEYOND_UTC)
@pytest.mark.parametrize("name", ["valid_from", "valid_to"])
def test_an_instant_outside_utc_is_refused_in_an_agency_and_in_a_key(name: str, instant: str) -> None:
    assert f"vegas.{name}: " in refused(table("vegas", more=f"{name} = {instant}"))
    key = f'{{ sha256 = "{sha256("vegas")}", {name} = {instant} }}'
    expected = refused(table("vegas").replace(f'"{sha256("vegas")}"', key))
    assert f"vegas.key_sha256.0.{name}: " in expected
    assert "between the years 1 and 9999 in UTC" in expected


@pytest.mark.parametrize("line", BEYOND_ARITHMETIC, ids=lambda line: line[:40])
def test_values_out_of_range_are_refused(line: str) -> None:
    assert refused(table("vegas", more=line)).startswith("agencies file")


def test_the_last_instants_of_utc_are_valid() -> None:
    (agency,) = read(table("vegas", more="valid_to = 9999-12-31T23:59:59Z\nevents_per_second = 1_000_000_000")).listed
    assert agency.valid_to.tzinfo is UTC
    assert agency.is_valid(datetime(9999, 12, 31, 23, 59, 58, tzinfo=UTC))


def test_a_refusal_does_not_quote_a_key() -> None:
    assert "plain-key" not in refused(table("vegas").replace(sha256("vegas"), "plain-key"))


def test_bytes_that_are_not_utf_8_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="not TOML"):
        parse(b"\xff")


@pytest.mark.parametrize("scope", ["320", "99999", "99", "9999", "99*", "3299*", "0243*", "74", "74*", "32003 320"])
def test_a_scope_that_matches_nothing_is_refused(scope: str) -> None:
    message = refused(table("vegas", scope))
    assert "agencies file: vegas.jurisdictions." in message
    assert scope.rsplit(maxsplit=1)[-1] in message


@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n", "agency = []\n"])
def test_a_file_without_an_agency_is_refused(text: str) -> None:
    assert "it names no agency" in refused(text)
