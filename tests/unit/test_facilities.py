"""The authority of a facility: curated for forty important ones, by rule for the rest, never guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.jurisdiction import registry
from services.importer.facilities import Resolved, Unresolved, resolve
from services.importer.facilities.geography import states

COUNTY, CITY, STATE, FEDERAL = "county", "city", "state", "federal"

BY_HAND = [
    ("MARICOPA COUNTY JAIL", "ARIZONA", "PHOENIX", "04013", COUNTY),
    ("LOS ANGELES COUNTY JAIL-TWIN TOWER", "CALIFORNIA", "LOS ANGELES", "06037", COUNTY),
    ("LOS ANGELES CITY JAIL", "CALIFORNIA", "LOS ANGELES", "06037", CITY),
    ("VISTA DETENTION FACILITY", "CALIFORNIA", "VISTA", "06073", COUNTY),
    ("SANTA RITA JAIL", "CALIFORNIA", "DUBLIN", "06001", COUNTY),
    ("TRAVIS CTY JAIL", "TEXAS", "AUSTIN", "48453", COUNTY),
    ("FT. BEND COUNTY JAIL", "TEXAS", "RICHMOND", "48157", COUNTY),
    ("RIKERS ISLAND, QUEENS, NY", "NEW YORK", "ELMHURST", "36005", CITY),
    ("QUEENS CENTRAL BOOKING", "NEW YORK", "QUEENS", "36081", CITY),
    ("NASSAU CO CORREC CENTER", "NEW YORK", "EAST MEADOW", "36059", COUNTY),
    ("DUVAL/JACKSONVILLE JAIL", "FLORIDA", "JACKSONVILLE", "12031", COUNTY),
    ("DADE COUNTY CORRECTIONAL", "FLORIDA", "MIAMI", "12086", COUNTY),
    ("ST TAMMANY PARISH JAIL", "LOUISIANA", "COVINGTON", "22103", COUNTY),
    ("DONA ANA COUNTY DETENTION FACILITY", "NEW MEXICO", "LAS CRUCES", "35013", COUNTY),
    ("BROWNSVILLE POLICE DEPT.", "TEXAS", "BROWNSVILLE", "48061", CITY),
    # namesakes
    ("FRANKLIN COUNTY JAIL", "OHIO", "COLUMBUS", "39049", COUNTY),
    ("FRANKLIN COUNTY JAIL", "PENNSYLVANIA", "CHAMBERSBURG", "42055", COUNTY),
    ("FRANKLIN C.F.", "NEW YORK", "MALONE", "36", STATE),
    ("WASHINGTON COUNTY JAIL", "OREGON", "HILLSBORO", "41067", COUNTY),
    ("WASHINGTON COUNTY JAIL", "UTAH", "HURRICANE", "49053", COUNTY),
    ("WASHINGTON CO. DETENTION", "MARYLAND", "HAGERSTOWN", "24043", COUNTY),
    ("MONTGOMERY COUNTY JAIL", "TEXAS", "CONROE", "48339", COUNTY),
    ("MONTGOMERY COUNTY DET.", "MARYLAND", "ROCKVILLE", "24031", COUNTY),
    ("MONTGOMERY CITY JAIL", "ALABAMA", "MONTGOMERY", "01101", CITY),
    ("ORANGE COUNTY JAIL", "CALIFORNIA", "SANTA ANA", "06059", COUNTY),
    ("ORANGE COUNTY JAIL", "FLORIDA", "ORLANDO", "12095", COUNTY),
    ("ORANGE COUNTY JAIL", "NEW YORK", "GOSHEN", "36071", COUNTY),
    ("ORANGE POLICE DEPT.", "TEXAS", "ORANGE", "48361", CITY),
    # state facilities, some named after a county or city
    ("ASPC ALHAMBRA", "ARIZONA", "PHOENIX", "04", STATE),
    ("STATEVILLE CORRECTIONS", "ILLINOIS", "JOLIET", "17", STATE),
    ("NO. KERN STATE PRISON", "CALIFORNIA", "DELANO", "06", STATE),
    ("WASCO STATE PRISON", "CALIFORNIA", "WASCO", "06", STATE),
    ("TRAVIS COUNTY STATE JAIL", "TEXAS", "AUSTIN", "48", STATE),
    ("SULLIVAN COUNTY CORR FAC", "NEW YORK", "FALLSBURG", "36", STATE),
    ("CAMPHILL SCI, PA", "PENNSYLVANIA", "CAMP HILL", "42", STATE),
    ("LORAIN CORRECTIONAL", "OHIO", "GRAFTON", "39", STATE),
    ("EASTERN REGIONAL JAIL", "WEST VIRGINIA", "MARTINSBURG", "54", STATE),
    ("DEPARTMENT OF CORRECTIONS", "GUAM", "Mangilao", "66", STATE),
    # federal facilities, some in a building named after a county
    ("US MARSHALS  SDTX", "TEXAS", "MCALLEN", "US", FEDERAL),
    ("MOSHANNON VALLEY CORRECTIONAL", "PENNSYLVANIA", "PHILIPSBURG", "US", FEDERAL),
    ("REEVES COUNTY DET. CENTER", "TEXAS", "PECOS", "US", FEDERAL),
    ("ADAMS COUNTY DET CENTER", "MISSISSIPPI", "NATCHEZ", "US", FEDERAL),
    ("F.C.I. HERLONG", "CALIFORNIA", "HERLONG", "US", FEDERAL),
    ("FLORENCE SPC", "ARIZONA", "FLORENCE", "US", FEDERAL),
    ("AUSTIN DRO HOLD ROOM", "TEXAS", "AUSTIN", "US", FEDERAL),
    # independent cities, and the counties around them
    ("PRINCE WILLIAM", "VIRGINIA", "MANASSAS", "51153", COUNTY),
    ("FAIRFAX CO JAIL", "VIRGINIA", "FAIRFAX", "51059", COUNTY),
    ("RICHMOND CITY JAIL", "VIRGINIA", "RICHMOND", "51760", CITY),
    ("HENRICO COUNTY JAIL", "VIRGINIA", "RICHMOND", "51087", COUNTY),
    ("ROANOKE COUNTY JAIL", "VIRGINIA", "SALEM", "51161", COUNTY),
    ("BALTIMORE COUNTY DET. CENTER", "MARYLAND", "TOWSON", "24005", COUNTY),
    ("BALTIMORE CITY DETENTION CENTER", "MARYLAND", "BALTIMORE", "24", STATE),
    ("ST. LOUIS COUNTY JAIL", "MISSOURI", "ST. LOUIS", "29189", COUNTY),
    ("ST . LOUIS CITY JUSTICE CENTER", "MISSOURI", "ST. LOUIS", "29510", CITY),
    ("CARSON CITY JAIL", "NEVADA", "CARSON CITY", "32510", CITY),
    # Connecticut's counties run no jails; its codes are those before the regions of 2022. Also South Dakota.
    ("BRIDGEPORT CORR CENTER", "CONNECTICUT", "BRIDGEPORT", "09", STATE),
    ("STAMFORD POLICE DEPT.", "CONNECTICUT", "STAMFORD", "09001", CITY),
    ("PENNINGTON COUNTY JAIL SD", "SOUTH DAKOTA", "RAPID CITY", "46103", COUNTY),
    ("BEADLE CO. SD JAIL", "SOUTH DAKOTA", "HURON", "46005", COUNTY),
    ("DC DEPT OF CORRECTIONS", "DISTRICT OF COLUMBIA", "WASHINGTON", "11001", COUNTY),
]

REJECTED = [
    ("OTHER-OTHER FACILITY", "", "", "no-state"),
    ("HARRIS COUNTY JAIL", "TEJAS", "HOUSTON", "unknown-state"),
    ("", "TEXAS", "HOUSTON", "no-facility"),
    ("HENDRICKS COUNTY SHERIFF/JAIL", "ILLINOIS", "DANVILLE", "unknown-county"),
    ("VAN BUREN COUNTY JAIL, MI", "MICHIGAN", "KALAMAZOO", "county-does-not-fit-city"),
    ("ORANGE COUNTY JAIL", "CALIFORNIA", "SAN FRANCISCO", "county-does-not-fit-city"),
    ("ORANGE COUNTY JAIL", "CALIFORNIA", "NOWHERE AT ALL", "unknown-city"),
    ("KENT COUNTY SHERIFF/JAIL", "DELAWARE", "DOVER", "no-county-jails"),
    ("RAPP SEC CENTER", "VIRGINIA", "FREDERICKSBURG", "ambiguous-county"),
    ("PAMUNKEY REG JAIL", "VIRGINIA", "HANOVER", "ambiguous-county"),
    ("NYC POLICE DEPARTMENT", "NEW YORK", "NEW YORK", "ambiguous-county"),
    ("GRAND PRAIRIE CITY JAIL", "TEXAS", "GRAND PRAIRIE", "ambiguous-county"),
    ("CIBOLA COUNTY DET CTR", "NEW MEXICO", "GRANTS", "ambiguous-custody"),
    ("NISQUALLY CITY JAIL", "WASHINGTON", "OLYMPIA", "unknown-tribe"),
    ("LOS CUST CASE", "CALIFORNIA", "LOS ANGELES", "unknown-facility"),
    ("ODESSA DETENTION CTR", "TEXAS", "ODESSA", "ambiguous-custody"),
]


@pytest.mark.parametrize(("facility", "state", "city", "code", "operator"), BY_HAND)
def test_the_jurisdiction_is_the_custodial_authority(
    facility: str, state: str, city: str, code: str, operator: str
) -> None:
    found = resolve(facility, state, city)
    assert isinstance(found, Resolved)
    assert (found.code, found.operator) == (code, operator)


@pytest.mark.parametrize(("facility", "state", "city", "reason"), REJECTED)
def test_ambiguous_names_are_rejected(facility: str, state: str, city: str, reason: str) -> None:
    found = resolve(facility, state, city)
    assert isinstance(found, Unresolved)
    assert found.reason == reason


@pytest.mark.parametrize(
    ("facility", "state", "city", "location"),
    [
        ("CI EDEN", "TEXAS", "EDEN", "48095"),
        ("WASCO STATE PRISON", "CALIFORNIA", "WASCO", "06029"),
        ("HARRIS COUNTY JAIL", "TEXAS", "HOUSTON", None),
        ("RIKERS ISLAND, QUEENS, NY", "NEW YORK", "ELMHURST", "36005"),
    ],
)
def test_the_location_is_the_citys_only_county_or_none(
    facility: str, state: str, city: str, location: str | None
) -> None:
    found = resolve(facility, state, city)
    assert isinstance(found, Resolved)
    assert found.location == location


@pytest.mark.parametrize(
    "spelling",
    ["SAINT LOUIS COUNTY JAIL", "St. Louis Co. Jail", "ST LOUIS CNTY JAIL", "st louis cty. jail"],
)
def test_one_county_in_many_spellings(spelling: str) -> None:
    found = resolve(spelling, "Missouri", "Saint Louis")
    assert isinstance(found, Resolved)
    assert found.code == "29189"


@pytest.mark.parametrize("state", sorted(name for name in states() if len(name) > 2))
def test_no_pattern_assigns_a_city_jail_to_the_state(state: str) -> None:
    found = resolve("SPRINGFIELD CITY JAIL", state, "SPRINGFIELD")
    assert isinstance(found, Unresolved) or found.operator == CITY


_TEXT = st.text() | st.sampled_from(["COUNTY", "CO. JAIL", "CITY JAIL", "POLICE", "*", "CITY OF  JAIL", "ST."])


@given(facility=st.lists(_TEXT, max_size=3).map(" ".join), state=st.sampled_from(list(states())), city=_TEXT)
def test_resolve_never_raises_and_its_results_fit_the_registry(facility: str, state: str, city: str) -> None:
    found = resolve(facility, state, city)
    if isinstance(found, Resolved):
        assert registry().fits(found.operator, found.code)


@given(facility=st.text(), state=st.text(), city=st.text())
def test_resolve_never_raises_on_any_state(facility: str, state: str, city: str) -> None:
    assert resolve(facility, state, city) == resolve(facility, state, city)
